"""May this model become champion? Numbers in, verdict out; nothing here reads a file or knows MLflow.

Every gate gives a row, also the one that could not be decided: `not enough data`
is seen by whoever reads the verdict, and blocks nobody.
"""

from vizecg.gates.evidence import CameraPages, Candidate, Evidence, Served
from vizecg.gates.judging import judge
from vizecg.gates.params import Params
from vizecg.gates.scores import expected_calibration_error
from vizecg.gates.verdict import LOST, MACRO_FLOOR, SHADOW, Row, Verdict, versus

__all__ = [
    "LOST",
    "MACRO_FLOOR",
    "SHADOW",
    "CameraPages",
    "Candidate",
    "Evidence",
    "Params",
    "Row",
    "Served",
    "Verdict",
    "expected_calibration_error",
    "judge",
    "versus",
]
