"""What is judged: challenger and champion on the same pages, and what is known of them beside."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vizecg.shadow import Agreement

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraPages:
    """Some of the records once more, through a camera.

    Attributes:
        camera: preset.
        at: (pages,) which of the evidence's records.
        challenger: (pages, classes) probabilities.
        champion: the same; None when it was not run.
    """

    camera: str
    at: NDArray[np.int64]
    challenger: Floats
    champion: Floats | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """One of the two models, and what it said about the test pages.

    Attributes:
        bundle_digest: the one name of its content.
        task: what the classes are the classes of: `STTC` means one thing in one task, another in the next.
        classes: in the order of the columns of `probabilities`.
        simulated: it was trained on simulated records.
        probabilities: (records, classes), calibrated; None when it can no longer be run.
    """

    bundle_digest: str
    task: str
    classes: tuple[str, ...]
    simulated: bool
    probabilities: Floats | None

    def __post_init__(self) -> None:
        if self.probabilities is None:
            return
        if self.probabilities.ndim != 2 or self.probabilities.shape[1] != len(self.classes):
            raise ValueError(
                f"probabilities must be (records, {len(self.classes)} classes), got {self.probabilities.shape}"
            )
        if not ((self.probabilities >= 0) & (self.probabilities <= 1)).all():  # NaN fails both
            raise ValueError("probabilities must be between 0 and 1, and none of them NaN")

    def answers_as(self, other: "Candidate") -> bool:
        """Whether an application could read the one's answers as the other's."""
        return (self.task, self.classes) == (other.task, other.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a real service made of the challenger.

    Attributes:
        pages: stored with the bundle, that it was asked about; 0 where the service is not installed here.
        wrong: what it did not do as it must, in a sentence; None when all was well.
    """

    pages: int
    wrong: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Challenger and champion on the same pages.

    Attributes:
        labels: (records, classes), columns in the challenger's order.
        patient_ids: (records,).
        challenger: with probabilities.
        champion: None when there is none yet.
        withdrawn: why this challenger was taken back before, if it was, and
            nobody has asked for it by its number since.
        shadow: how often the two said the same of what was uploaded to a service; None when none has asked both.
        groups: kind -> value -> (records,) those of it, such as `sex` -> `female`.
        cameras: the same records through cameras.
        served: by a real service that was started with the challenger; None when none was.
    """

    labels: NDArray[np.bool_]
    patient_ids: NDArray[np.int64]
    challenger: Candidate
    champion: Candidate | None = None
    withdrawn: str | None = None
    shadow: Agreement | None = None
    groups: Mapping[str, Mapping[str, NDArray[np.bool_]]] = field(default_factory=dict)
    cameras: tuple[CameraPages, ...] = ()
    served: Served | None = None

    def __post_init__(self) -> None:
        if self.challenger.probabilities is None:
            raise ValueError("a challenger without probabilities cannot be judged")
        for candidate in (self.challenger, self.champion):
            if candidate is not None and candidate.probabilities is not None:
                records = len(candidate.probabilities)
                if not records == len(self.labels) == len(self.patient_ids):
                    raise ValueError(
                        f"labels, patients and probabilities must be of the same records, "
                        f"got {len(self.labels)}, {len(self.patient_ids)} and {records}"
                    )
        if self.labels.shape[1] != len(self.challenger.classes):
            raise ValueError(f"labels must have {len(self.challenger.classes)} columns, got {self.labels.shape[1]}")


def probabilities_of(candidate: Candidate) -> Floats:
    """Of a candidate that was run."""
    assert candidate.probabilities is not None  # noqa: S101 (Evidence has looked)
    return candidate.probabilities
