"""Section `promote` of params.yaml: the limits of every gate."""

from typing import Final

from pydantic import Field

from vizecg.config import Section

MACRO_TARGET: Final = "macro"
"""As `promote.target`: all classes together."""


class Params(Section):
    """Section `promote` of params.yaml."""

    macro_auroc_floor: float = Field(ge=0, le=1, description="the lower end of the macro AUROC's interval reaches it")
    macro_auroc_margin: float = Field(ge=0, le=1, description="how much worse than the champion is still no worse")
    class_auroc_margin: float = Field(ge=0, le=1, description="the same, for each class alone")
    calibration_error_ceiling: float = Field(ge=0, le=1, description="expected calibration error, mean over classes")
    minimum_records: int = Field(ge=1, description="below it no gate about scores is decided")
    minimum_positives: int = Field(ge=1, description="of a class, below which its own gate is not decided")
    shadow_agreement_floor: float = Field(
        default=0.8, ge=0, le=1, description="share of uploads on which both find a label or both do not, of each label"
    )
    shadow_minimum_pictures: int = Field(default=100, ge=1, description="below it that gate is not decided")
    resamples: int = Field(ge=100, description="of the bootstrap by patient")
    seed: int = Field(ge=0)
    # Revisions of before these gates say nothing of them.
    group_auroc_margin: float = Field(default=0.05, ge=0, le=1, description="certainly worse by more, in any group: no")
    group_minimum_records: int = Field(default=50, ge=1, description="of a group, below which it is not decided")
    cameras: tuple[str, ...] = Field(default=("scan", "photo"), description="presets that pages are sent through")
    camera_records: int | None = Field(default=60, ge=10, description="of fold 10; null is all of them")
    camera_auroc_margin: float = Field(default=0.05, ge=0, le=1, description="as for groups, on pages of a camera")
    camera_auroc_loss: float = Field(default=0.2, ge=0, le=1, description="certainly more lost by a camera: no")
    target: str | None = Field(
        default=None, description="a class, or `macro`, whose AUROC must certainly be better than the champion's"
    )
    approval: bool = Field(default=False, description="what the gates let through waits for `vizecg approve`")
