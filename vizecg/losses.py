"""What training minimises: λ1 · classification + λ2 · distillation.

Classification is binary cross-entropy on every head there is; distillation pulls the
served image head towards heads that have seen the signal. Jointly trained, those
teachers are noise at first, so distillation waits and then ramps in. A record on
paper has no signal: the image head learns from it, and nothing else does.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vizecg.models import Logits
from vizecg.recipe import Teacher


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

    def to_dict(self) -> dict[str, float]:
        """Plain numbers of the parts there are."""
        parts = {name: getattr(self, name) for name in ("total", "image", "signal", "fused", "distillation")}
        return {name: float(part.detach()) for name, part in parts.items() if part is not None}


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


def total_loss(
    logits: Logits,
    labels: Tensor,
    *,
    classification_weight: float,
    distillation_weight: float,
    temperature: float,
    teacher: Teacher,
    has_signal: Tensor | None = None,
) -> LossParts:
    """λ1 · sum of the heads' cross-entropies + λ2 · distillation from `teacher` to the image head.

    What needs the signal is weighed by the share of records that have one, so that
    each record counts the same whatever company it is in.

    Args:
        logits: of a model without a signal stream only `image` counts: it has no teacher.
        labels: (batch, labels), 0 or 1.
        classification_weight: λ1.
        distillation_weight: λ2 now, see `recipe.DistillationParams.weight_at`.
        temperature: of the distillation.
        teacher: which head teaches; for `both`, the mean of the two losses, so λ2 keeps its meaning.
        has_signal: (batch,) bool, which records the signal and fused logits are of; without it, all.
    """
    targets = labels.to(logits.image.dtype)
    image = functional.binary_cross_entropy_with_logits(logits.image, targets)
    share, student = 1.0, logits.image
    if has_signal is not None:
        share, student, targets = float(has_signal.float().mean()), student[has_signal], targets[has_signal]
    signal, fused = (
        None if head is None else functional.binary_cross_entropy_with_logits(head, targets)
        for head in (logits.signal, logits.fused)
    )
    heads = [image, *(share * loss for loss in (signal, fused) if loss is not None)]
    total = classification_weight * torch.stack(heads).sum()
    teachers = [logits.by_head()[name] for name in (("signal", "fused") if teacher == "both" else (teacher,))]
    lessons = [distillation_loss(student, head, temperature=temperature) for head in teachers if head is not None]
    distillation = torch.stack(lessons).mean() if lessons else None
    if distillation is not None:
        total = total + distillation_weight * share * distillation
    return LossParts(total=total, image=image, signal=signal, fused=fused, distillation=distillation)
