import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.spatial.distance import cosine
from scipy.stats import entropy

from vizecg.losses import (
    Lesson,
    asymmetric_loss,
    balanced_weights,
    classification_loss,
    distillation_loss,
    feature_loss,
    total_loss,
)
from vizecg.models import Logits
from vizecg.recipe import AsymmetricParams, DistillationParams, Recipe

STUDENT = torch.tensor([[0.3, -1.2, 4.0], [2.0, 0.0, -0.7]])
TEACHER = torch.tensor([[1.3, -2.2, 3.0], [-2.0, 0.5, -0.7]])


def logits(**heads):
    return Logits(**({"scored": STUDENT, "signal": None, "fused": None} | heads))


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
    made = Logits(scored=student, signal=TEACHER[1:], fused=2 * TEACHER[1:])
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


# Teachers trained before, and those that learn from their student


ONE_TEACHER = WEIGHTS | {"teacher": "signal"}


def test_a_lesson_given_before_is_distilled_as_a_teaching_head_is():
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    lesson = Lesson(logits=TEACHER, taught=torch.tensor([True, True]))
    parts = total_loss(logits(), labels, lesson=lesson, **WEIGHTS)
    expected = torch.nn.BCEWithLogitsLoss()(STUDENT, labels) + distillation_loss(STUDENT, TEACHER, temperature=2.0)
    torch.testing.assert_close(parts.total, expected)
    assert parts.to_dict().keys() == {"total", "image", "distillation"}


def test_a_record_nobody_was_asked_about_learns_from_its_labels_alone():
    labels, taught = torch.tensor([[1.0, 0, 1], [0, 1, 0]]), torch.tensor([False, True])
    parts = total_loss(logits(), labels, lesson=Lesson(logits=TEACHER[1:], taught=taught), **WEIGHTS)
    told = distillation_loss(STUDENT[1:], TEACHER[1:], temperature=2.0)
    torch.testing.assert_close(parts.total, torch.nn.BCEWithLogitsLoss()(STUDENT, labels) + told / 2)
    nobody = Lesson(logits=TEACHER[:0], taught=torch.tensor([False, False]))
    alone = total_loss(logits(), labels, lesson=nobody, **WEIGHTS)
    assert alone.to_dict().keys() == {"total", "image"}


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_symmetric_lesson_moves_the_teacher_too_and_leaves_the_students_as_it_is(symmetric):
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    made = Logits(scored=student, signal=teacher)
    parts = total_loss(made, torch.zeros(2, 3), symmetric=symmetric, **ONE_TEACHER)
    to_student, to_teacher = torch.autograd.grad(parts.distillation, (student, teacher), allow_unused=True)
    one = STUDENT.clone().requires_grad_()
    torch.testing.assert_close(
        to_student, torch.autograd.grad(distillation_loss(one, TEACHER, temperature=2.0), one)[0]
    )
    if not symmetric:
        assert to_teacher is None
        return
    coins = [torch.distributions.Bernoulli(logits=z / 2) for z in (STUDENT, teacher)]
    expected = 4 * torch.distributions.kl_divergence(*coins).mean()
    torch.testing.assert_close(to_teacher, torch.autograd.grad(expected, teacher)[0])


def test_the_feature_term_is_scipys_cosine_distance_and_moves_the_student_alone():
    student, teacher = torch.randn(4, 6).requires_grad_(), torch.randn(4, 6).requires_grad_()
    loss = feature_loss(student, teacher)
    pairs = zip(student.detach().numpy(), teacher.detach().numpy(), strict=True)
    assert float(loss.detach()) == pytest.approx(np.mean([cosine(one, other) for one, other in pairs]), rel=1e-5)
    loss.backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_the_feature_term_is_weighed_by_lambda2_and_by_who_has_a_signal():
    image_features, signal_features = torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([[1.0, 0]])
    made = logits(signal=TEACHER[1:], fused=TEACHER[1:], image_features=image_features, signal_features=signal_features)
    given = WEIGHTS | {"distillation_weight": 0.5, "has_signal": torch.tensor([False, True])}
    without, within = (total_loss(made, torch.zeros(2, 3), feature_weight=weight, **given) for weight in (0.0, 3.0))
    assert without.features is None
    assert float(within.features) == pytest.approx(1)  # the two are at a right angle
    torch.testing.assert_close(within.total - without.total, torch.tensor(0.5 * 3 / 2))


# What classification may be instead


def ridnik(logit, target, *, gamma_pos, gamma_neg, clip):
    """Equations 4 to 7 of Ridnik et al. 2021, one label at a time."""
    p = 1 / (1 + np.exp(-logit))
    shifted = max(p - clip, 0)
    return -((1 - p) ** gamma_pos) * np.log(p) if target else -(shifted**gamma_neg) * np.log(1 - shifted)


@pytest.mark.parametrize(("gamma_pos", "gamma_neg", "clip"), [(0, 4, 0.05), (1, 4, 0.2), (1, 1, 0), (2, 0, 0)])
def test_the_asymmetric_loss_is_that_of_its_paper(gamma_pos, gamma_neg, clip):
    params = {"gamma_pos": gamma_pos, "gamma_neg": gamma_neg, "clip": clip}
    targets = np.array([[1.0, 0, 1], [0, 1, 0]])
    pairs = zip(STUDENT.double().numpy().ravel(), targets.ravel(), strict=True)
    expected = np.mean([ridnik(logit, target, **params) for logit, target in pairs])
    loss = asymmetric_loss(STUDENT.double(), torch.from_numpy(targets), params=AsymmetricParams(**params))
    assert float(loss) == pytest.approx(expected, rel=1e-9)


def test_without_its_three_numbers_the_asymmetric_loss_is_cross_entropy():
    plain = AsymmetricParams(gamma_pos=0, gamma_neg=0, clip=0)
    sure = torch.tensor([[50.0, -50.0, 0.3]])
    for targets in (torch.zeros(1, 3), torch.ones(1, 3)):
        loss = asymmetric_loss(sure, targets, params=plain)
        torch.testing.assert_close(loss, torch.nn.BCEWithLogitsLoss()(sure, targets))


@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_sure_logits_give_the_asymmetric_loss_a_finite_gradient(clip):
    sure = torch.tensor([[200.0, -200.0, 0.0]]).requires_grad_()
    for targets in (torch.zeros(1, 3), torch.ones(1, 3)):
        loss = asymmetric_loss(sure, targets, params=AsymmetricParams(gamma_pos=1, gamma_neg=4, clip=clip))
        (gradient,) = torch.autograd.grad(loss, sure)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["gamma_pos", "gamma_neg"])
def test_a_gamma_whose_gradient_has_no_bound_is_refused(name):
    with pytest.raises(ValidationError, match=f"{name} must be 0 or at least 1, got 0.5"):
        AsymmetricParams(**{name: 0.5})


def test_balanced_weights_are_negatives_for_each_positive_and_have_a_cap():
    labels = np.zeros((100, 4), np.uint8)
    labels[:50, 0] = labels[:20, 1] = labels[:1, 2] = 1
    assert balanced_weights(labels, cap=10.0).tolist() == [1, 4, 10, 10]


@pytest.mark.parametrize("classification", ["bce", "asymmetric"])
def test_a_balanced_class_weighs_its_positives_as_its_negatives(classification):
    labels = np.zeros((100, 1), np.uint8)
    labels[:20] = 1
    recipe = Recipe(
        classification=classification,
        class_weights="balanced",
        asymmetric=AsymmetricParams(gamma_pos=0, gamma_neg=0, clip=0),
    )
    # One logit for all: the loss is smallest where both answers are as likely.
    constant = torch.zeros(1, requires_grad=True)
    loss = classification_loss(recipe, labels=labels)(constant.expand(100, 1), torch.from_numpy(labels).float())
    (gradient,) = torch.autograd.grad(loss, constant)
    assert float(gradient) == pytest.approx(0, abs=1e-6)
