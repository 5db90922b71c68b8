"""The same model behind other servers, as somebody who knows them would put it there: Pillow and onnxruntime in fp32.

`save_pyfunc` writes what `mlflow models serve` runs; `benchmarks.litserve_peer` runs LitServe. A peer keeps no audit
trail, knows no keys and says nothing but probabilities.
"""

import base64
import io
from pathlib import Path
from typing import Any, Literal

import mlflow.pyfunc
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

from vizecg import bundle as bundles
from vizecg import intake
from vizecg.intake import CanonicalSpec

Work = Literal["intake", "resize"]
"""`intake`: what we do to a page, after Pillow has unpacked all of it. `resize`: the picture shrunk to the model's size
as it is, which is no answer to a photo, whose page lies somewhere and turned."""


class PillowModel:
    """Bytes of a picture -> probabilities, on one thread."""

    def __init__(self, bundle: Path, work: Work) -> None:
        contract = bundles.read(bundle)[1]
        self._spec, self._point, self._work = contract.spec, contract.operating_point, work
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            bundle / bundles.ONNX_FILE, sess_options=options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, data: bytes) -> list[float]:
        (logits,) = self._session.run(["logits"], {"image": intake.to_tensor(_page(data, self._spec, self._work))})
        return [float(value) for value in self._point.probabilities(logits)[0]]


def _page(data: bytes, spec: CanonicalSpec, work: Work) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if work == "resize":
        return np.asarray(image.convert("L").resize((spec.width_px, spec.height_px), Image.Resampling.BILINEAR))
    return intake.normalise(np.asarray(image.convert("RGB")), spec=spec).canonical


class Pyfunc(mlflow.pyfunc.PythonModel):
    """For `mlflow models serve`, which takes JSON; the picture is base64 in it."""

    def __init__(self, bundle: str, work: Work) -> None:
        self._made_from = (bundle, work)

    def load_context(self, context: Any) -> None:
        del context
        bundle, work = self._made_from
        self._model = PillowModel(Path(bundle), work)

    def predict(self, model_input: list[str]) -> list[list[float]]:
        return [self._model(base64.b64decode(picture)) for picture in model_input]


def save_pyfunc(folder: Path, *, bundle: Path, work: Work) -> None:
    """Write an MLflow model; whoever serves it needs this module on its path."""
    mlflow.pyfunc.save_model(folder, python_model=Pyfunc(str(bundle), work), pip_requirements=[])
