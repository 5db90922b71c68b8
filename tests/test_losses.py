import numpy as np
import pytest
import torch
from scipy.stats import entropy

from vizecg.losses import distillation_loss, total_loss
from vizecg.models import Logits
from vizecg.recipe import DistillationParams

STUDENT = torch.tensor([[0.3, -1.2, 4.0], [2.0, 0.0, -0.7]])
TEACHER = torch.tensor([[1.3, -2.2, 3.0], [-2.0, 0.5, -0.7]])


def logits(**heads):
    return Logits(**({"image": STUDENT, "signal": None, "fused": None} | heads))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 5.0])
def test_distillation_is_scipys_kl_between_two_coins_times_temperature_squared(temperature):
    teacher, student = (torch.sigmoid(z.double() / temperature).numpy() for z in (TEACHER, STUDENT))
    coins = [entropy([q, 1 - q], [p, 1 - p]) for q, p in zip(teacher.ravel(), student.ravel(), strict=True)]
    loss = distillation_loss(STUDENT.double(), TEACHER.double(), temperature=temperature)
    assert float(loss) == pytest.approx(temperature**2 * np.mean(coins), rel=1e-9)


def test_distillation_agrees_with_torch_distributions():
    coins = (torch.distributions.Bernoulli(logits=z / 2) for z in (TEACHER, STUDENT))
    expected = 4 * torch.distributions.kl_divergence(*coins).mean()
    torch.testing.assert_close(distillation_loss(STUDENT, TEACHER, temperature=2.0), expected)


def test_a_student_that_agrees_has_nothing_to_learn():
    assert float(distillation_loss(TEACHER, TEACHER, temperature=2.0)) == pytest.approx(0, abs=1e-7)


def test_no_gradient_reaches_the_teacher():
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    distillation_loss(student, teacher, temperature=2.0).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_in_the_total_the_teacher_learns_from_labels_alone():
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    gradients = []
    for weight in (0.0, 5.0):
        teacher = TEACHER.clone().requires_grad_()
        parts = total_loss(
            logits(signal=teacher, fused=TEACHER),
            labels,
            classification_weight=1.0,
            distillation_weight=weight,
            temperature=2.0,
            teacher="signal",
        )
        parts.total.backward()
        gradients.append(teacher.grad)
    assert torch.equal(*gradients)


def test_the_gradient_keeps_its_size_when_temperature_changes():
    # In the limit of high temperature the gradient is (z_s - z_t) / 4 a label (Hinton et al. 2015, equation 4).
    student = STUDENT.double().clone().requires_grad_()
    distillation_loss(student, TEACHER.double(), temperature=1000.0).backward()
    torch.testing.assert_close(student.grad, (STUDENT - TEACHER).double() / 4 / 6, rtol=1e-3, atol=1e-7)


def test_sure_logits_give_a_finite_loss():
    sure = torch.full((2, 3), 1e4)
    assert torch.isfinite(distillation_loss(-sure, sure, temperature=2.0))


def test_total_is_the_weighted_sum_of_its_parts():
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    arguments = {"classification_weight": 0.7, "distillation_weight": 0.3, "temperature": 2.0}
    parts = total_loss(logits(signal=TEACHER, fused=2 * TEACHER), labels, teacher="both", **arguments)
    heads = (STUDENT, TEACHER, 2 * TEACHER)
    cross_entropy = [torch.nn.BCEWithLogitsLoss()(head, labels) for head in heads]
    lessons = [distillation_loss(STUDENT, head, temperature=2.0) for head in heads[1:]]
    torch.testing.assert_close(parts.total, 0.7 * sum(cross_entropy) + 0.3 * sum(lessons) / 2)
    assert parts.to_dict().keys() == {"total", "image", "signal", "fused", "distillation"}


@pytest.mark.parametrize("teacher", ["signal", "fused"])
def test_the_teacher_is_the_one_that_was_named(teacher):
    heads = {"signal": TEACHER, "fused": 2 * TEACHER}
    arguments = {"classification_weight": 1.0, "distillation_weight": 1.0, "temperature": 2.0}
    parts = total_loss(logits(**heads), torch.zeros(2, 3), teacher=teacher, **arguments)
    torch.testing.assert_close(parts.distillation, distillation_loss(STUDENT, heads[teacher], temperature=2.0))


def test_without_a_signal_stream_only_the_image_head_counts():
    parts = total_loss(
        logits(),
        torch.zeros(2, 3),
        classification_weight=1.0,
        distillation_weight=1.0,
        temperature=2.0,
        teacher="both",
    )
    torch.testing.assert_close(parts.total, torch.nn.BCEWithLogitsLoss()(STUDENT, torch.zeros(2, 3)))
    assert parts.to_dict().keys() == {"total", "image"}


WEIGHTS = {"classification_weight": 1.0, "distillation_weight": 1.0, "temperature": 2.0, "teacher": "both"}


def test_a_record_on_paper_counts_for_the_image_head_and_for_nothing_else():
    labels, has_signal = torch.tensor([[1.0, 0, 1], [0, 1, 0]]), torch.tensor([False, True])
    parts = total_loss(logits(signal=TEACHER[1:], fused=TEACHER[1:]), labels, has_signal=has_signal, **WEIGHTS)
    cross_entropy = torch.nn.BCEWithLogitsLoss()
    lesson = distillation_loss(STUDENT[1:], TEACHER[1:], temperature=2.0)
    seeing = 2 * cross_entropy(TEACHER[1:], labels[1:]) + lesson
    # One record of two has a signal, and counts as much as it would among others.
    torch.testing.assert_close(parts.total, cross_entropy(STUDENT, labels) + seeing / 2)
    torch.testing.assert_close(parts.distillation, lesson)


def test_no_lesson_reaches_a_record_on_paper():
    student = STUDENT.clone().requires_grad_()
    made = Logits(image=student, signal=TEACHER[1:], fused=2 * TEACHER[1:])
    parts = total_loss(made, torch.zeros(2, 3), has_signal=torch.tensor([False, True]), **WEIGHTS)
    (gradient,) = torch.autograd.grad(parts.distillation, student)
    assert (gradient[0] == 0).all()
    assert (gradient[1] != 0).all()


def test_a_mask_that_leaves_nothing_out_changes_nothing():
    labels, made = torch.tensor([[1.0, 0, 1], [0, 1, 0]]), logits(signal=TEACHER, fused=2 * TEACHER)
    whole = total_loss(made, labels, **WEIGHTS)
    masked = total_loss(made, labels, has_signal=torch.tensor([True, True]), **WEIGHTS)
    assert torch.equal(whole.total, masked.total)


def test_distillation_waits_for_the_teacher_and_then_ramps_in():
    params = DistillationParams(weight=0.8, warmup_epochs=3, ramp_epochs=4)
    weights = [params.weight_at(epoch) for epoch in (0, 2.99, 3, 4, 5, 7, 50)]
    assert weights == pytest.approx([0, 0, 0, 0.2, 0.4, 0.8, 0.8])
    assert DistillationParams(weight=0.8, warmup_epochs=3, ramp_epochs=0).weight_at(3) == 0.8


@pytest.mark.parametrize(
    ("student", "temperature", "message"),
    [
        (STUDENT[:, :2], 2.0, r"student and teacher must have one shape, got \(2, 2\) and \(2, 3\)"),
        (STUDENT, 0.0, "temperature must be above 0, got 0.0"),
        (STUDENT, float("nan"), "temperature must be above 0, got nan"),
    ],
)
def test_a_lesson_that_cannot_be_given_is_refused(student, temperature, message):
    with pytest.raises(ValueError, match=message):
        distillation_loss(student, TEACHER, temperature=temperature)
