"""How good a set of predictions is: every metric by class and macro, with what the records can say about it."""

from vizecg.metrics.calibration import Bools, Floats, calibration_error, calibration_error_by_chance, recalibration
from vizecg.metrics.resampling import KINDS, resampled_metrics
from vizecg.metrics.scores import UNDEFINED, ClassScores, Estimate, Scores, flat
from vizecg.metrics.scoring import METRICS, score
from vizecg.metrics.support import MIN_SCORED, cuts_of, left_out, scorable
from vizecg.metrics.sweeps import RISK_FILE, SWEEP_FILE, Risk, risk_at, risk_coverage, write_sweeps

__all__ = [
    "KINDS",
    "METRICS",
    "MIN_SCORED",
    "RISK_FILE",
    "SWEEP_FILE",
    "UNDEFINED",
    "Bools",
    "ClassScores",
    "Estimate",
    "Floats",
    "Risk",
    "Scores",
    "calibration_error",
    "calibration_error_by_chance",
    "cuts_of",
    "flat",
    "left_out",
    "recalibration",
    "resampled_metrics",
    "risk_at",
    "risk_coverage",
    "scorable",
    "score",
    "write_sweeps",
]
