"""Pages as another program draws them: ecg_plot's, which nobody here designed a model or an intake for."""

import importlib.util
import io
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vizecg import camera
from vizecg.errors import InputError
from vizecg.labels import LEADS
from vizecg.page.scale import MM_PER_INCH
from vizecg.pages.uploads import NO_CAMERA, PageRecipe, Upload, camera_rng

ECG_PLOT: Final = "ecg_plot"
_MM_PER_S, _MM_PER_MV = 25.0, 10.0
_LAYOUT: Final = {"layout": "12lead", "time_mode": "sequential", "rhythm_lead": "II"}


def require_ecg_plot() -> None:
    """Refuse early where the package is missing.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec(ECG_PLOT) is None:
        raise InputError(f"pages of {ECG_PLOT} need the package {ECG_PLOT}: pip install -c constraints.txt {ECG_PLOT}")


def make_ecg_plot_upload(
    *,
    signal_mv: NDArray[np.floating[Any]] | None,
    paper: bytes | None,
    sampling_hz: float,
    ecg_id: int,
    copy: int,
    recipe: PageRecipe,
) -> Upload:
    """Twelve leads of 2.5 s over a rhythm strip on a sheet of ecg_plot's own size, then through the recipe's camera.

    Raises:
        InputError: the record came on paper, so there is nothing to draw.
    """
    if signal_mv is None or paper is not None:
        raise InputError(f"record {ecg_id} came on paper; {ECG_PLOT} draws signals")
    file = _printed(signal_mv, sampling_hz=sampling_hz, dots_per_inch=recipe.upload_px_per_mm * MM_PER_INCH)
    preset = NO_CAMERA
    if recipe.camera != NO_CAMERA:
        with Image.open(io.BytesIO(file)) as image:
            rgb = np.asarray(image.convert("RGB"))
        shot = camera.shoot(
            rgb,
            preset=recipe.camera,
            rng=camera_rng(recipe, ecg_id=ecg_id, copy=copy),
            px_per_mm=recipe.upload_px_per_mm,
        )
        file, preset = camera.encode(shot), shot.preset
    return Upload(
        data=file,
        style=ECG_PLOT,
        camera=preset,
        mm_per_s=_MM_PER_S,
        mm_per_mv=_MM_PER_MV,
        px_per_mm=recipe.upload_px_per_mm,
    )


def _printed(signal_mv: NDArray[np.floating[Any]], *, sampling_hz: float, dots_per_inch: float) -> bytes:
    import ecg_plot  # type: ignore[import-untyped] # its wheel has no stubs
    from matplotlib import pyplot

    # It counts samples in whole numbers a second.
    chart = ecg_plot.plot(signal_mv, sample_rate=round(sampling_hz), lead_names=list(LEADS), **_LAYOUT)
    figure, _ = chart.to_matplotlib()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dots_per_inch)
    pyplot.close(figure)
    return file.getvalue()
