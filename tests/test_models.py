import pytest
import torch
from pydantic import ValidationError

from vizecg.models import build_model
from vizecg.models.attention import CrossModalityAttention, SelfModalityAttention, positions_1d, positions_2d
from vizecg.models.image_stream import ImageStream
from vizecg.models.signal_stream import SignalStream
from vizecg.recipe import ModelConfig

SMALL = ModelConfig(image_width=4, image_blocks=(1, 1, 1, 1), signal_width=8, signal_blocks=(1, 1), dim=16, heads=2)
PAGE = (2, 1, 288, 384)  # the field of 256 × 192 mm at 1.5 px/mm


def images(shape=PAGE, *, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def signals(batch=2, *, seed=0):
    return torch.randn(batch, 12, 1000, generator=torch.Generator().manual_seed(seed))


def shaken(model, *, seed=0):
    """Every parameter away from 0, so that a branch that starts at 0 takes part."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def model():
    return shaken(build_model(SMALL, labels=5, seed=0)).eval()


def test_every_head_answers_every_label(model):
    logits = model(images(), signals())
    assert {head: tuple(value.shape) for head, value in logits.by_head().items()} == dict.fromkeys(
        ("image", "signal", "fused"), (2, 5)
    )


def test_changing_the_signal_cannot_change_the_served_logits(model):
    one, other = model(images(), signals(seed=1)), model(images(), 100 * signals(seed=2))
    assert torch.equal(one.scored, other.scored)
    assert torch.equal(one.scored, model.predict_image(images()))
    assert not torch.allclose(one.signal, other.signal)
    assert not torch.allclose(one.fused, other.fused)


def test_no_gradient_flows_from_the_served_logits_to_the_signal(model):
    signal_mv = signals().requires_grad_()
    logits = model(images(), signal_mv)
    (gradient,) = torch.autograd.grad(logits.scored.sum(), signal_mv, allow_unused=True, retain_graph=True)
    assert gradient is None
    (gradient,) = torch.autograd.grad(logits.fused.sum(), signal_mv)
    assert gradient.abs().sum() > 0


def test_the_fused_head_sees_the_image_and_the_signal_head_does_not(model):
    one, other = model(images(seed=1), signals()), model(images(seed=2), signals())
    assert torch.equal(one.signal, other.signal)
    assert not torch.allclose(one.fused, other.fused)


def test_evidence_averages_to_the_logit(model):
    logits, evidence = model.explain_image(images())
    assert evidence.shape == (2, 5, 9, 12)
    torch.testing.assert_close(evidence.mean((2, 3)), logits)


def test_evidence_lies_where_the_ink_is():
    # Without SMAM a token sees only its own surroundings: ink in one corner moves that corner most.
    model = build_model(SMALL.model_copy(update={"smam": False}), labels=5, seed=0).eval()
    blank, marked = torch.zeros(1, 1, 288, 384), torch.zeros(1, 1, 288, 384)
    marked[..., 150:, 300:] = 1
    change = (model.explain_image(marked)[1] - model.explain_image(blank)[1]).abs().sum(1)[0]
    row, column = divmod(int(change.argmax()), 12)
    assert row >= 4
    assert column >= 8


@pytest.mark.parametrize(
    ("switch", "absent"),
    [
        pytest.param("smam", ("image_smam.attention", "signal_side.smam.attention"), id="smam"),
        pytest.param("cmam", ("image_on_signal", "signal_on_image"), id="cmam"),
        pytest.param("signal", ("signal_side",), id="signal"),
    ],
)
def test_one_switch_takes_one_part_out(switch, absent):
    whole, ablated = (build_model(SMALL.model_copy(update={switch: on}), labels=5, seed=0) for on in (True, False))
    for part in absent:
        assert any(part in name for name in whole.state_dict())
        assert not any(part in name for name in ablated.state_dict())
    logits = ablated.eval()(images(), signals())
    assert logits.scored.shape == (2, 5)
    assert (logits.fused is None) == (switch == "signal")


def test_without_cmam_the_fused_head_still_reads_both():
    model = shaken(build_model(SMALL.model_copy(update={"cmam": False}), labels=5, seed=0)).eval()
    fused = model(images(), signals()).fused
    assert not torch.allclose(fused, model(images(), signals(seed=5)).fused)
    assert not torch.allclose(fused, model(images(seed=5), signals()).fused)


def test_first_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = build_model(SMALL, labels=5, seed=3).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    same, other = build_model(SMALL, labels=5, seed=3).state_dict(), build_model(SMALL, labels=5, seed=4).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["image_stream.project.weight"], other["image_stream.project.weight"])


@pytest.mark.parametrize("size", [(288, 384), (288, 512), (217, 385)])
def test_image_stream_has_stride_32_at_any_size(size):
    tokens, grid = ImageStream(width=4, blocks=(1, 1, 1, 1), dim=8).eval()(torch.rand(1, 1, *size))
    assert grid == tuple(-(-side // 32) for side in size)
    assert tokens.shape == (1, grid[0] * grid[1], 8)


@pytest.mark.parametrize("size", [(288, 384), (217, 385)])
@pytest.mark.parametrize("kind", [{"body": "convnext"}, {"block": "bottleneck"}])
def test_any_image_stream_has_stride_32_at_any_size(kind, size):
    tokens, grid = ImageStream(width=4, blocks=(1, 2, 1, 1), dim=8, **kind).eval()(torch.rand(1, 1, *size))
    assert grid == tuple(-(-side // 32) for side in size)
    assert tokens.shape == (1, grid[0] * grid[1], 8)


@pytest.mark.parametrize("choice", [{"image_stream": "convnext"}, {"image_block": "bottleneck"}])
def test_any_image_stream_learns_one_batch_by_heart_in_bfloat16(choice):
    network = build_model(SMALL.model_copy(update=choice), labels=5, seed=0).to(memory_format=torch.channels_last)
    labels = (torch.arange(40).reshape(8, 5) % 3 == 0).float()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(100):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scored = network(images((8, 1, 64, 64)), signals(8)[..., :100]).scored.float()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scored, labels)
        if loss.item() < 0.05:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


def test_convnext_fills_the_page_up_with_blank_paper():
    # What lies beyond the page is white, as if the page were larger.
    stream = ImageStream(width=4, blocks=(1, 1, 1, 1), dim=8, body="convnext").eval()
    page = torch.rand(1, 1, 40, 60)
    larger = torch.zeros(1, 1, 64, 64)
    larger[..., :40, :60] = page
    torch.testing.assert_close(stream(page)[0], stream(larger)[0])


def test_signal_tokens_keep_the_order_of_time():
    stream = SignalStream(leads=12, width=8, blocks=(1, 1), dim=8).eval()
    flat, late = torch.zeros(1, 12, 1000), torch.zeros(1, 12, 1000)
    late[..., 900:] = 1
    change = (stream(late) - stream(flat)).abs().sum(2)[0]
    assert change.shape == (250,)
    assert change[:200].max() == 0
    assert change[230:].max() > 0


def test_resnet18_of_width_64_has_the_published_number_of_parameters():
    # torchvision's resnet18 has 11,689,512; minus its classifier (513,000) and two of three input channels (6,272).
    stream = ImageStream(width=64, blocks=(2, 2, 2, 2), dim=8)
    body = sum(p.numel() for p in stream.parameters()) - sum(p.numel() for p in stream.project.parameters())
    assert body == 11_689_512 - 513_000 - 2 * 64 * 7 * 7


def test_bottlenecks_of_width_64_have_the_published_number_of_parameters():
    # torchvision's resnet50 has 25,557,032; minus its classifier (2,049,000) and two of three input channels.
    stream = ImageStream(width=64, blocks=(3, 4, 6, 3), dim=8, block="bottleneck")
    body = sum(p.numel() for p in stream.parameters()) - sum(p.numel() for p in stream.project.parameters())
    assert body == 25_557_032 - 2_049_000 - 2 * 64 * 7 * 7


def test_convnext_of_width_96_has_the_published_number_of_parameters():
    # torchvision's convnext_tiny has 28,589,128; minus its classifier (769,000), the norm before it (2 × 768), and two
    # of three input channels.
    stream = ImageStream(width=96, blocks=(3, 3, 9, 3), dim=8, body="convnext")
    body = sum(p.numel() for p in stream.parameters()) - sum(p.numel() for p in stream.project.parameters())
    assert body == 28_589_128 - 769_000 - 2 * 768 - 2 * 96 * 4 * 4


def test_attention_is_that_of_torch():
    block = shaken(SelfModalityAttention(16, heads=4)).eval()
    ours = block.attention
    reference = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        reference.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
        reference.out_proj.load_state_dict(ours.output.state_dict())
    queries, context = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    torch.testing.assert_close(ours(queries, context), reference(queries, context, context)[0])


def test_attention_starts_as_the_identity():
    tokens, other = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    assert torch.equal(SelfModalityAttention(16, heads=4)(tokens), tokens)
    assert torch.equal(CrossModalityAttention(16, heads=4)(tokens, other), tokens)


def test_smam_does_not_care_about_the_order_of_tokens_and_positions_do():
    block, tokens = shaken(SelfModalityAttention(16, heads=4)), torch.randn(1, 6, 16)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(block(tokens)[:, order], block(tokens[:, order]))
    where = positions_2d(3, 4, dim=16)
    assert len({tuple(row) for row in where.tolist()}) == 12


def test_positions_are_row_then_column():
    where = positions_2d(3, 4, dim=16).reshape(3, 4, 16)
    assert torch.equal(where[1, 0, :8], where[1, 3, :8])
    assert torch.equal(where[0, 2, 8:], where[2, 2, 8:])
    torch.testing.assert_close(where[2, 0, :8], positions_1d(3, dim=8)[2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: positions_1d(4, dim=3), "positions need an even dim, got 3"),
        (lambda: positions_2d(4, 4, dim=6), "need a dim divisible by 4, got 6"),
        (lambda: SelfModalityAttention(16, heads=3), "dim 16 is not divisible by heads 3"),
        (
            lambda: ImageStream(width=4, blocks=(1, 1, 1), dim=8, body="convnext"),
            r"stride 32 takes 4 stages, got blocks",
        ),
        (lambda: ImageStream(width=4, blocks=(1, 1, 1), dim=8), r"stride 32 takes 4 stages, got blocks \(1, 1, 1\)"),
    ],
)
def test_parts_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dim": 18}, "dim must be divisible by 4 and by heads 4, got 18"),
        ({"dim": 20, "heads": 3}, "dim must be divisible by 4 and by heads 3, got 20"),
        ({"image_blocks": (2, 0, 2, 2)}, "every stage needs a block"),
        ({"image_stream": "convnext", "image_block": "bottleneck"}, "image_block bottleneck is of the resnet"),
        ({"widht": 3}, "Extra inputs are not permitted"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        ModelConfig.model_validate(values)
