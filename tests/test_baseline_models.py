"""Rivals are what their papers describe: of that size, able to learn, and given no more than they claim to read."""

import dataclasses
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from vizecg import publish
from vizecg.batches import TrainingData
from vizecg.bundling import read_sources
from vizecg.errors import InputError
from vizecg.evaluation import read_model
from vizecg.export import export_onnx
from vizecg.labels import LEADS
from vizecg.losses import total_loss
from vizecg.modelrun import DESCRIPTION_FILE, MODEL_RUN, SCHEMA_VERSION
from vizecg.models import build_model, refuse_missing_signal
from vizecg.models.baselines.as_printed import AsPrinted, printed_strips
from vizecg.models.baselines.convnext_t import ConvNextT
from vizecg.models.baselines.inception1d import Inception1d
from vizecg.models.baselines.lstm_bidir import BidirectionalLstm
from vizecg.models.baselines.resnet import ResNet
from vizecg.models.baselines.resnet1d_wang import ResNet1dWang
from vizecg.models.baselines.ribeiro import RibeiroResNet
from vizecg.models.baselines.xresnet1d101 import XResNet1d101
from vizecg.models.registry import BUILDERS
from vizecg.page import STYLES, draw_page
from vizecg.recipe import Architecture, ModelConfig, Recipe, SignalReader
from vizecg.training import train

ROOT = Path(__file__).parent.parent
RIVALS = sorted(set(BUILDERS) - {"vizecgnet"})
READ_SIGNALS = [
    *("inception1d", "late_fusion", "lstm_bidir", "resnet1d_wang", "resnet1d_wang_as_printed", "ribeiro"),
    *("vizecgnet_signal", "xresnet1d101"),
]
READ_PAGES = ["convnext_t", "resnet18", "resnet34", "resnet50"]


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for one another cost more than they bring on inputs this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights_of(network):
    return sum(weight.numel() for weight in network.parameters())


def rival(name, *, labels=5, seed=0):
    return build_model(ModelConfig(architecture=name), labels=labels, seed=seed)


def images(batch=2, *, size=(64, 96), seed=0):
    return torch.rand(batch, 1, *size, generator=torch.Generator().manual_seed(seed))


def signals(batch=2, *, samples=1000, seed=0):
    return 0.2 * torch.randn(batch, 12, samples, generator=torch.Generator().manual_seed(seed))


# Sizes


@pytest.mark.parametrize(
    ("network", "published"),
    [
        # torchvision's `num_params`: https://docs.pytorch.org/vision/stable/models.html
        pytest.param(lambda: ResNet(blocks=(2, 2, 2, 2), bottleneck=False, labels=1000, in_channels=3), 11_689_512),
        pytest.param(lambda: ResNet(blocks=(3, 4, 6, 3), bottleneck=False, labels=1000, in_channels=3), 21_797_672),
        pytest.param(lambda: ResNet(blocks=(3, 4, 6, 3), bottleneck=True, labels=1000, in_channels=3), 25_557_032),
        pytest.param(lambda: ConvNextT(labels=1000, in_channels=3), 28_589_128),
    ],
    ids=["resnet18", "resnet34", "resnet50", "convnext_t"],
)
def test_image_networks_have_the_published_number_of_weights(network, published):
    assert weights_of(network()) == published


# By hand, from helme/ecg_ptbxl_benchmarking as its `fastai_model.py` builds them: no bias before a norm, a norm has two
# weights a channel. The head: a norm of what is pooled, to 128 hidden units, their norm, to 5 labels.
HEAD = {pooled: 2 * pooled + (pooled * 128 + 128) + 2 * 128 + (128 * 5 + 5) for pooled in (256, 512, 1536)}
WANG = (
    (12 * 128 * 7 + 2 * 128)  # stem
    + 3 * (128 * 128 * 5 + 128 * 128 * 3 + 2 * 2 * 128)  # three blocks
    + 2 * (128 * 128 + 2 * 128)  # the last two halve the rate, so their shortcut is a convolution
    + HEAD[256]
)
XRESNET = (
    (12 * 32 * 5 + 2 * 32) + (32 * 32 * 5 + 2 * 32) + (32 * 64 * 5 + 2 * 64)  # stem
    + 33 * ((64 * 64 * 5 + 2 * 64) + (64 * 256 + 2 * 256))  # 3 + 4 + 23 + 3 blocks: middle and last convolution
    + (64 * 64 + 2 * 64) + 32 * (256 * 64 + 2 * 64)  # their first one reads the stem once, then 256 channels
    + (64 * 256 + 2 * 256)  # one shortcut changes the number of channels
    + HEAD[512]
)  # fmt: skip
INCEPTION = (
    6 * (32 * 32 * (39 + 19 + 9) + 2 * 128)  # kernels of six blocks, and their norms
    + 2 * 12 * 32 + 5 * 2 * 128 * 32  # bottleneck, and the convolution of the maximum
    + (12 * 128 + 2 * 128) + (128 * 128 + 2 * 128)  # two shortcuts
    + HEAD[256]
)  # fmt: skip
LSTM = (
    2 * (4 * 256 * (12 + 256) + 2 * 4 * 256)  # two directions of four gates, two biases each
    + 2 * (4 * 256 * (512 + 256) + 2 * 4 * 256)
    + HEAD[1536]
)


@pytest.mark.parametrize(
    ("network", "by_hand"),
    [(ResNet1dWang, WANG), (XResNet1d101, XRESNET), (Inception1d, INCEPTION), (BidirectionalLstm, LSTM)],
)
def test_signal_networks_have_the_size_of_the_benchmarks_layers(network, by_hand):
    assert weights_of(network(leads=12, labels=5)) == by_hand


def test_ribeiros_network_has_the_number_of_weights_that_keras_counts():
    # "Trainable params: 6,421,910" of `model.summary()` of antonior92/automatic-ecg-diagnosis (model.py): kernels of
    # 16, six classes. Ours has the same layers, and one sample more in every kernel.
    assert weights_of(RibeiroResNet(leads=12, labels=6, kernel=16)) == 6_421_910


def test_ribeiros_features_have_the_rate_of_the_original_and_its_16_places():
    rates = []
    network = RibeiroResNet(leads=12, labels=5).eval()
    for unit in network.units:
        unit.register_forward_hook(lambda _unit, _given, made: rates.append(made[0].shape[2]))
    network(signals())  # ten seconds
    # 4,096 samples at 400 Hz became 1024, 256, 64 and 16: 100 a second, then 25, 6.25 and 1.56.
    assert rates == [1000, 250, 63, 16]


@pytest.mark.parametrize("kernel", [16, 17])
def test_ribeiros_network_runs_with_the_original_kernel_too(kernel):
    assert RibeiroResNet(leads=12, labels=6, kernel=kernel).eval()(signals()).shape == (2, 6)


def test_the_lstm_answers_from_where_each_direction_ends():
    network, read = BidirectionalLstm(leads=12, labels=5).eval(), []
    network.head.register_forward_pre_hook(lambda _head, given: read.append(given[0]))
    network(signals(samples=50))
    _, (ends, _) = network.lstm(signals(samples=50).transpose(1, 2) / 0.24)  # (layers * directions, batch, units)
    torch.testing.assert_close(read[0][:, -512:], torch.cat([ends[-2], ends[-1]], dim=1))


def test_the_table_of_the_docs_counts_as_torch_does():
    table = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| ([\d,]+) \|", table, flags=re.MULTILINE)
    told = {name: int(count.replace(",", "")) for name, count in rows}
    assert told == {name: weights_of(rival(name)) for name in BUILDERS}


# Learning


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_learns_one_batch_by_heart_in_bfloat16(name):
    network = rival(name).to(memory_format=torch.channels_last)
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0  # what it drops it cannot learn by heart
    image, signal_mv = images(8, size=(32, 64)), signals(8, samples=1000 if "printed" in name else 64)
    labels = (torch.arange(40).reshape(8, 5) % 3 == 0).float()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    for _ in range(40):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(image, signal_mv).float()
        loss = binary_cross_entropy_with_logits(logits.scored, labels)
        if loss.item() < 0.05:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


@pytest.mark.parametrize("samples", [250, 1300])
@pytest.mark.parametrize("name", READ_SIGNALS)
def test_a_signal_rival_takes_signals_of_any_length(name, samples):
    assert rival(name).eval()(images(), signals(samples=samples)).scored.shape == (2, 5)


@pytest.mark.parametrize("name", RIVALS)
def test_first_weights_depend_on_the_seed_alone(name):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = rival(name, seed=3).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    same, other = rival(name, seed=3).state_dict(), rival(name, seed=4).state_dict()
    assert all(torch.equal(one[weight], same[weight]) for weight in one)
    assert any(not torch.equal(one[weight], other[weight]) for weight in one)


# What each is given


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_looks_at_what_it_claims_to_read_and_at_nothing_else(name):
    network = rival(name).eval()
    score = network(images(), signals()).scored
    reads = {"signal": name in READ_SIGNALS, "page": name in READ_PAGES or name == "late_fusion"}
    assert torch.equal(network(images(), signals(seed=1)).scored, score) != reads["signal"]
    assert torch.equal(network(images(seed=1), signals()).scored, score) != reads["page"]


# A textbook's page of 3 by 4 leads with a rhythm strip: four columns, read from the left, 2.5 s each.
COLUMNS = (("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6"))
WINDOWS = {lead: (250 * at, 250 * at + 250) for at, column in enumerate(COLUMNS) for lead in column}


def seen_as_printed(signal_mv):
    return AsPrinted(nn.Identity()).on_paper(signal_mv)


def test_as_printed_is_every_leads_window_and_ten_seconds_of_lead_ii():
    signal_mv = 1 + torch.arange(12 * 1000, dtype=torch.float32).reshape(1, 12, 1000)  # every sample another number
    expected = torch.zeros(13, 1000)
    for channel, (lead, (start, stop)) in enumerate(WINDOWS.items()):
        expected[channel, start:stop] = signal_mv[0, LEADS.index(lead), start:stop]
    expected[12] = signal_mv[0, LEADS.index("II")]
    seen = seen_as_printed(signal_mv)[0]
    assert {tuple(channel) for channel in seen.tolist()} == {tuple(channel) for channel in expected.tolist()}
    assert len(seen) == 13


def test_what_does_not_change_the_page_does_not_change_the_rival_as_printed():
    network = rival("resnet1d_wang_as_printed").eval()
    records = np.zeros((1 + 12 * 4, 12, 1000), np.float32)  # a blank one first, then a mark in each column of each lead
    for number in range(12 * 4):
        lead, column = divmod(number, 4)
        records[1 + number, lead, 250 * column + 100 : 250 * column + 120] = 0.5
    pages = [draw_page(record, sampling_hz=100, px_per_mm=1).index for record in records]
    answers = network(images(len(records), size=(1, 1)), torch.from_numpy(records)).scored
    on_page = [not np.array_equal(page, pages[0]) for page in pages[1:]]
    noticed = [not torch.allclose(answer, answers[0], atol=1e-6) for answer in answers[1:]]
    assert noticed == on_page
    assert sum(on_page) == 12 + 3  # lead II is seen in every column


def test_a_page_of_twelve_rows_shows_ten_seconds_of_every_lead():
    signal_mv = signals()
    assert torch.equal(AsPrinted(nn.Identity(), style=STYLES["standard-12x1"]).on_paper(signal_mv), signal_mv)
    assert [strip.lead for strip in printed_strips(STYLES["standard-12x1"])] == list(LEADS)


def test_paper_is_blank_where_a_record_ends_before_its_strip_and_ends_before_a_longer_record():
    short = seen_as_printed(torch.ones(1, 12, 600))[0].sum(1)
    # V4 to V6 begin too late, V1 to V3 have a second, six leads have all their window, lead II six seconds.
    assert sorted(short.tolist()) == [0.0] * 3 + [100.0] * 3 + [250.0] * 6 + [600.0]
    assert seen_as_printed(torch.ones(1, 12, 1300)).shape == (1, 13, 1000)


def test_late_fusion_averages_the_logits_of_two_networks_that_learn_from_their_own_loss_too():
    network = rival("late_fusion").eval()
    image, signal_mv, labels = images(), signals(), torch.tensor([[1.0, 0, 0, 1, 0], [0, 1, 0, 0, 1]])
    logits = network(image, signal_mv)
    of_image = network.image_network(image).mean((2, 3))
    of_signal = network.signal_network(signal_mv)
    torch.testing.assert_close(logits.scored, (of_image + of_signal) / 2)
    options = {"classification_weight": 1.0, "distillation_weight": 1.0, "temperature": 2.0, "teacher": "both"}
    loss = total_loss(logits, labels, **options)
    expected = sum(binary_cross_entropy_with_logits(part, labels) for part in (logits.scored, of_image, of_signal))
    torch.testing.assert_close(loss.total, expected)
    assert loss.distillation is None


# Evidence


def test_the_evidence_of_a_resnet_averages_to_what_the_published_head_says():
    network = rival("resnet18").eval()
    features = []
    network.network.layer4.register_forward_hook(lambda _layer, _given, made: features.append(made))
    logits, evidence = network.explain_image(images())
    published = network.network.fc(nn.AdaptiveAvgPool2d(1)(features[0]).flatten(1))
    torch.testing.assert_close(logits, published)
    assert evidence.shape == (2, 5, 2, 3)


def test_the_evidence_of_convnext_averages_to_what_the_published_head_says():
    network = rival("convnext_t").eval()
    with torch.no_grad():
        network.network.head.norm.bias.add_(torch.rand(768))
        network.network.head.norm.weight.add_(torch.rand(768))
    features = []
    network.network.stages.register_forward_hook(lambda _layer, _given, made: features.append(made))
    logits, evidence = network.explain_image(images())
    head = network.network.head
    published = head.fc(
        nn.functional.layer_norm(features[0].mean((2, 3)), (768,), head.norm.weight, head.norm.bias, 1e-6)
    )
    torch.testing.assert_close(logits, published, atol=1e-5, rtol=1e-4)
    assert evidence.shape == (2, 5, 2, 3)


# Refusals


def test_params_know_every_architecture_and_which_of_them_read_signals():
    known = {*get_args(Architecture)} - {SignalReader} | {*get_args(SignalReader)}
    assert known == set(BUILDERS)
    assert sorted(get_args(SignalReader)) == sorted(READ_SIGNALS)
    assert [name for name in RIVALS if not ModelConfig(architecture=name).needs_signal] == READ_PAGES


def test_an_unknown_architecture_is_refused_by_the_names_there_are():
    with pytest.raises(ValueError, match=r"unknown architecture 'resnet19'; known: \['convnext_t', .*'resnet18'"):
        build_model(ModelConfig().model_copy(update={"architecture": "resnet19"}), labels=5, seed=0)
    with pytest.raises(ValidationError, match="Input should be 'vizecgnet', 'resnet18'"):
        ModelConfig(architecture="resnet19")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            {"smam": False},
            "smam does not apply to architecture resnet18, which has its published sizes: leave it at True",
        ),
        ({"image_width": 64}, "image_width does not apply to architecture resnet18.*leave it at 16, got 64"),
        ({"image_blocks": (2, 2, 2, 2)}, r"image_blocks does not apply to architecture resnet18.*got \(2, 2, 2, 2\)"),
    ],
)
def test_an_option_that_a_rival_does_not_have_is_refused(option, message):
    with pytest.raises(ValidationError, match=message):
        ModelConfig(architecture="resnet18", **option)
    assert ModelConfig(architecture="resnet18", smam=True, image_width=16).architecture == "resnet18"


@pytest.mark.parametrize("name", ["resnet1d_wang", "late_fusion"])
def test_a_network_that_reads_signals_is_never_exported(name, tmp_path):
    with pytest.raises(InputError, match=rf"{name} reads the signal, so it can answer no uploaded page: it is a rival"):
        export_onnx(rival(name).eval(), tmp_path / "model.onnx", image_height_px=64, image_width_px=96)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", READ_SIGNALS)
def test_a_batch_with_a_record_on_paper_is_refused_by_who_reads_signals(name):
    with pytest.raises(ValueError, match="every record of a batch needs its signal here, got 1 for 2 records"):
        rival(name).eval()(images(2), signals(1), torch.tensor([True, False]))


def test_records_on_paper_are_counted_and_one_is_named():
    has_signal, ecg_ids = np.array([True, False, False]), np.array([11, 12, 13])
    with pytest.raises(
        InputError, match=r"ribeiro reads the signal, and 2 of 3 records are on paper, such as record 12"
    ):
        refuse_missing_signal(ModelConfig(architecture="ribeiro"), has_signal=has_signal, ecg_ids=ecg_ids)
    for name in ("vizecgnet", *READ_PAGES):
        refuse_missing_signal(ModelConfig(architecture=name), has_signal=has_signal, ecg_ids=ecg_ids)


def published_run(folder, architecture):
    description = {"config": {"architecture": architecture}, "classes": [], "records": "digest"}
    with publish.publishing(folder, kind=MODEL_RUN, schema_version=SCHEMA_VERSION) as staging:
        (staging / DESCRIPTION_FILE).write_text(publish.to_json(description))
    return folder


def test_a_run_that_reads_signals_is_not_evaluated_as_a_service(tmp_path):
    run = published_run(tmp_path / "run", "resnet1d_wang")
    with pytest.raises(
        InputError, match=r"run is a rival that reads the signal \(resnet1d_wang\): it can answer no page"
    ):
        read_model(run, threads=1)


@pytest.mark.parametrize("name", ["resnet18", "resnet1d_wang"])
def test_a_rival_is_never_registered(name, tmp_path):
    run = published_run(tmp_path / "run", name)
    with publish.publishing(tmp_path / "evaluation", kind="evaluation", schema_version=1) as staging:
        (staging / "metrics.json").write_text("{}")
    with pytest.raises(InputError, match=rf"run is a rival \({name}\), trained to compare with and never served"):
        read_sources(run, evaluation=tmp_path / "evaluation")


# In the training loop


def made_up(*, records=24):
    """Signals with a step where the label says, and pages that say nothing."""
    rng = np.random.default_rng(0)
    labels = (rng.random((records, 5)) < 0.5).astype(np.uint8)
    signals_uv = rng.integers(-100, 100, (records, 12, 200)).astype(np.int16)
    signals_uv[:, :5] += 800 * labels[:, :, None].astype(np.int16)
    return TrainingData(
        pages=np.full((records, 64, 96), 255, np.uint8),
        page_row=np.arange(records),
        page_copy=np.zeros(records, int),
        signals_uv=signals_uv,
        sampling_hz=100,
        has_signal=np.ones(records, bool),
        labels=labels,
        codes=("NORM", "MI", "STTC", "CD", "HYP"),
        ecg_ids=1000 + np.arange(records),
        training_rows=np.arange(records - 8),
        validation_rows=np.arange(records - 8, records),
        digest="made up",
    )


def recipe(name, **options):
    model = ModelConfig(architecture=name)
    return Recipe(model=model, batch_size=8, precision="float32", threads=1, **({"epochs": 6} | options))


def test_a_signal_rival_is_trained_and_its_best_epoch_chosen_by_the_head_it_has():
    trained = train(made_up(), recipe("resnet1d_wang"), seed=0)
    assert all(set(report.validation_auroc) == {"signal"} for report in trained.history)
    assert trained.best_auroc == max(report.validation_auroc["signal"] for report in trained.history)
    assert trained.best_auroc > 0.9  # the pages are blank
    assert set(trained.history[-1].class_auroc) == {"NORM", "MI", "STTC", "CD", "HYP"}


def test_a_signal_rival_is_not_trained_on_paper():
    data = dataclasses.replace(made_up(), has_signal=np.arange(24) != 20)
    with pytest.raises(
        InputError, match=r"resnet1d_wang reads the signal, and 1 of 24 records are on paper, such as record 1020"
    ):
        train(data, recipe("resnet1d_wang"), seed=0)


def test_a_page_rival_is_trained_on_paper_and_its_config_can_be_read_again():
    data = dataclasses.replace(made_up(), has_signal=np.zeros(24, bool))
    trained = train(data, recipe("resnet18", epochs=1), seed=0)
    assert ModelConfig.model_validate(trained.model.config.model_dump(mode="json")) == ModelConfig(
        architecture="resnet18"
    )
