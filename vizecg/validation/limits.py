"""Where a warning begins: section `validate` of params.yaml. Imports nothing heavy."""

from pydantic import Field

from vizecg.config import Section


class FlaggedShares(Section):
    """Largest share of the records that may carry each quality flag before somebody should look."""

    flat_lead: float = Field(ge=0, le=1)
    clipped: float = Field(ge=0, le=1)
    noisy: float = Field(ge=0, le=1)
    burst_noise: float = Field(ge=0, le=1)
    mains_hum: float = Field(ge=0, le=1)
    drifting: float = Field(ge=0, le=1)
    implausible_amplitude: float = Field(ge=0, le=1)
    arm_reversal_suspected: float = Field(ge=0, le=1)


class Limits(Section):
    """Where a warning begins; of what must hold, only `min_records` can be turned."""

    min_records: int = Field(ge=1)
    prevalence_factor: float = Field(ge=1, description="a class may be so many times rarer or commoner than in PTB-XL")
    max_age_unknown: float = Field(ge=0, le=1)
    max_sex_unknown: float = Field(ge=0, le=1)
    max_unlabelled: float = Field(ge=0, le=1)
    max_without_signal: float = Field(ge=0, le=1)
    min_positives: int = Field(ge=0, description="records of a class in fold 9 and in fold 10")
    max_flagged: FlaggedShares
    max_not_taken_in: float = Field(ge=0, le=1, description="share of pages that the intake says are no ECG")
    max_with_findings: float = Field(ge=0, le=1)
    max_scale_error: float = Field(ge=0, le=1, description="of the measured scale of a page, as a share")
    max_share_change: float = Field(ge=0, le=1, description="of a share against the baseline, beyond chance")
    max_distribution_change: float = Field(ge=0, description="population stability index against the baseline")
