"""VizECG: diagnosis from the printed ECG image alone, trained with the signal beside it."""

import os
from collections.abc import Mapping
from typing import Final

NOTHING_REPORTS_HOME: Final[Mapping[str, str]] = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}

# The one thing an import does here. onnxruntime's Linux build sends telemetry, and writes an identifier of the device,
# from the moment it is loaded; so this has to come first, for whoever uses the library too. What is set stays.
for _name, _value in NOTHING_REPORTS_HOME.items():
    os.environ.setdefault(_name, _value)
