"""What training minimises: λ1 · classification + λ2 · distillation.

Classification is binary cross-entropy on every head there is, or the asymmetric loss;
distillation pulls the served image head towards heads that have seen the signal, or
towards what teachers trained before have said. Jointly trained, teachers are noise at
first, so distillation waits and then ramps in. A record on paper has no signal: the
image head learns from it, and nothing else does.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vizecg.models import Logits
from vizecg.recipe import AsymmetricParams, Recipe, Teacher

Classification = Callable[[Tensor, Tensor], Tensor]
"""Logits (batch, labels), and targets of the same shape, 0 or 1 -> scalar mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossParts:
    """`total` is what is minimised; the rest are its parts before λ1 and λ2, each the mean over the records it is of.

    None where there is no such head, or no record of the batch has a signal.
    """

    total: Tensor
    image: Tensor
    signal: Tensor | None
    fused: Tensor | None
    distillation: Tensor | None
    features: Tensor | None = None

    def to_dict(self) -> dict[str, float]:
        """Plain numbers of the parts there are."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return {name: float(part.detach()) for name, part in parts.items() if part is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What teachers trained before have said of a batch.

    Attributes:
        logits: (records that are taught, labels).
        taught: (batch,) bool, which those are; a signal teacher has nothing to say of a record on paper.
    """

    logits: Tensor
    taught: Tensor


def classification_loss(recipe: Recipe, *, labels: NDArray[np.uint8]) -> Classification:
    """The recipe's loss of one head.

    Args:
        recipe: `classification`, `asymmetric`, `class_weights` and `class_weight_cap` of it.
        labels: (records, labels) of those that are learned from; what `balanced` is counted on.
    """
    weights = balanced_weights(labels, cap=recipe.class_weight_cap) if recipe.class_weights == "balanced" else None
    asymmetric = recipe.asymmetric

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        positive_weight = None if weights is None else torch.from_numpy(weights).to(logits)
        if recipe.classification == "asymmetric":
            return asymmetric_loss(logits, targets, params=asymmetric, positive_weight=positive_weight)
        return functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=positive_weight)

    return loss


def balanced_weights(labels: NDArray[np.uint8], *, cap: float) -> NDArray[np.float64]:
    """How much a positive of each class counts, so that positives and negatives weigh the same: (labels,).

    Args:
        labels: (records, labels), 0 or 1.
        cap: the most; a class of three positives would otherwise drown the others.
    """
    positives = labels.sum(axis=0, dtype=np.int64)
    balanced: NDArray[np.float64] = np.minimum(cap, (len(labels) - positives) / np.maximum(positives, 1))
    return balanced


def asymmetric_loss(
    logits: Tensor, targets: Tensor, *, params: AsymmetricParams, positive_weight: Tensor | None = None
) -> Tensor:
    """Cross-entropy that sure answers count less in, negatives more so than positives.

    Ridnik et al. 2021, "Asymmetric loss for multi-label classification", equations 4 to 7:
    a positive costs -(1 - p)^gamma_pos · log p, a negative -q^gamma_neg · log(1 - q) with
    q = max(p - clip, 0). With all three at 0 it is binary cross-entropy. They sum; this is
    the mean, so that λ1 and the learning rate keep their meaning.

    Args:
        logits: (batch, labels).
        targets: same shape, 0 or 1.
        params: gamma_pos, gamma_neg and clip.
        positive_weight: (labels,) how much a positive counts.
    """
    probability = torch.sigmoid(logits)
    shifted = (probability - params.clip).clamp(min=0)
    positive = -functional.logsigmoid(logits)
    # Without a shift its logarithm is known from the logit, which does not round to 1 where the probability does.
    negative = -torch.log1p(-shifted) if params.clip else -functional.logsigmoid(-logits)
    if params.gamma_pos:
        positive = positive * (1 - probability) ** params.gamma_pos
    if params.gamma_neg:
        negative = negative * shifted**params.gamma_neg
    if positive_weight is not None:
        positive = positive * positive_weight
    return (targets * positive + (1 - targets) * negative).mean()


def distillation_loss(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float) -> Tensor:
    """Pull each label's softened probability towards the teacher's.

    Args:
        student_logits: (batch, labels), before sigmoid: labels may occur together.
        teacher_logits: same shape; never receives a gradient.
        temperature: above 0; higher shows the student more of the small probabilities.

    Returns:
        Scalar mean Bernoulli KL, times temperature² so its gradient keeps its
        size when temperature changes (Hinton et al. 2015, section 2).

    Raises:
        ValueError: the shapes differ, or the temperature is not above 0.
    """
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"student and teacher must have one shape, got {tuple(student_logits.shape)} "
            f"and {tuple(teacher_logits.shape)}"
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature!r}")
    student = student_logits / temperature
    teacher = teacher_logits.detach() / temperature
    probability = torch.sigmoid(teacher)
    # KL = cross-entropy - entropy of the teacher; in logits both stay finite where a probability rounds to 0 or 1.
    cross_entropy = functional.binary_cross_entropy_with_logits(student, probability)
    entropy = functional.binary_cross_entropy_with_logits(teacher, probability)
    return temperature**2 * (cross_entropy - entropy)


def feature_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Mean cosine distance, 0 to 2, of each record's features; the teacher never receives a gradient.

    Args:
        student_features: (batch, dim).
        teacher_features: same shape.
    """
    return (1 - functional.cosine_similarity(student_features, teacher_features.detach(), dim=1)).mean()


def total_loss(
    logits: Logits,
    labels: Tensor,
    *,
    classification_weight: float,
    distillation_weight: float,
    temperature: float,
    teacher: Teacher,
    has_signal: Tensor | None = None,
    classification: Classification = functional.binary_cross_entropy_with_logits,
    symmetric: bool = False,
    feature_weight: float = 0.0,
    lesson: Lesson | None = None,
) -> LossParts:
    """λ1 · sum of the heads' classification losses + λ2 · distillation from `teacher` to the image head.

    What needs the signal is weighed by the share of records that have one, so that
    each record counts the same whatever company it is in.

    Args:
        logits: of a model without a signal stream, or a rival, only `scored` and `parts` count: it has no teacher of
            its own.
        labels: (batch, labels), 0 or 1.
        classification_weight: λ1.
        distillation_weight: λ2 now, see `recipe.DistillationParams.weight_at`.
        temperature: of the distillation.
        teacher: which head teaches; for `both`, the mean of the two losses, so λ2 keeps its meaning.
        has_signal: (batch,) bool, which records the signal and fused logits are of; without it, all.
        classification: of one head.
        symmetric: the teaching heads are pulled towards the image head as well (Zhang et al. 2018, "Deep
            mutual learning"); the student's own lesson stays as it is.
        feature_weight: of the distance between the means of image and signal tokens, times λ2.
        lesson: of teachers trained before; they teach in place of `teacher`.
    """
    targets = labels.to(logits.scored.dtype)
    scored, *parts = (classification(head, targets) for head in (logits.scored, *logits.parts))
    share, student = 1.0, logits.scored
    if has_signal is not None:
        share, student, targets = float(has_signal.float().mean()), student[has_signal], targets[has_signal]
    signal, fused = (None if head is None else classification(head, targets) for head in (logits.signal, logits.fused))
    heads = [scored, *parts, *(share * loss for loss in (signal, fused) if loss is not None)]
    total = classification_weight * torch.stack(heads).sum()
    teaching = [logits.teachers()[name] for name in (("signal", "fused") if teacher == "both" else (teacher,))]
    if lesson is not None:
        share, student, teaching = float(lesson.taught.float().mean()), logits.scored[lesson.taught], [lesson.logits]
    given = [head for head in teaching if head is not None and len(head)]
    distillation = _distillation(student, given, temperature=temperature, symmetric=symmetric)
    if distillation is not None:
        total = total + distillation_weight * share * distillation
    features = _features(logits, has_signal=has_signal) if feature_weight else None
    if features is not None:
        total = total + distillation_weight * feature_weight * share * features
    return LossParts(
        total=total, image=scored, signal=signal, fused=fused, distillation=distillation, features=features
    )


def _distillation(student: Tensor, teaching: list[Tensor], *, temperature: float, symmetric: bool) -> Tensor | None:
    lessons = [distillation_loss(student, head, temperature=temperature) for head in teaching]
    if not lessons:
        return None
    if not symmetric:
        return torch.stack(lessons).mean()
    answers = [distillation_loss(head, student, temperature=temperature) for head in teaching]
    return torch.stack(lessons).mean() + torch.stack(answers).mean()


def _features(logits: Logits, *, has_signal: Tensor | None) -> Tensor | None:
    if logits.image_features is None or logits.signal_features is None:
        return None
    student = logits.image_features if has_signal is None else logits.image_features[has_signal]
    return feature_loss(student, logits.signal_features)
