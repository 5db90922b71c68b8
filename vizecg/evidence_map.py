"""What speaks for a class and what against it, drawn over the part of the page that the model sees."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vizecg.intake import CanonicalSpec, Intake, Picture

# Told apart by colour-blind readers.
FOR: Final = (213, 94, 0)
AGAINST: Final = (0, 114, 178)
_STRONGEST: Final = 0.65
# Above 1, so that a weak tint all over does not hide where the strong places are.
_CONTRAST: Final = 1.5
_BLANK: Final = (255, 255, 255)


def film(evidence: NDArray[np.floating], *, size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """Give the map as a coloured film; multiplied with a page it tints it as `overlaid` does.

    Args:
        evidence: (h, w), above 0 where the page speaks for the class and below where against; the strongest place of
            this page gets the fullest colour.
        size_px: width and height of the film.

    Returns:
        (height, width, 4) red, green, blue, opacity.
    """
    colour, strength = _colour_and_strength(evidence, size_px=size_px)
    return np.concatenate([colour, np.rint(255 * strength)], axis=2).astype(np.uint8)


def overlaid(page: NDArray[np.uint8], evidence: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Tint a page as its evidence has it; ink stays black, as under a coloured film.

    Args:
        page: (height, width, 3).
        evidence: (h, w), see `film`.
    """
    colour, strength = _colour_and_strength(evidence, size_px=(page.shape[1], page.shape[0]))
    tinted = page * (1 - strength * (1 - colour / 255))
    return np.asarray(np.clip(np.rint(tinted), 0, 255), dtype=np.uint8)


def field_of(picture: Picture, taken: Intake, *, spec: CanonicalSpec, width_px: int) -> NDArray[np.uint8]:
    """Cut the part of a page that the model sees out of a picture, upright and in its own colours.

    Args:
        picture: the upload.
        taken: what the intake made of it.
        spec: what the intake was asked for.
        width_px: of the result, whose height follows.

    Returns:
        (height, width, 3); white where the picture ends.
    """
    page = picture.pixels if picture.pixels.ndim == 3 else cv2.cvtColor(picture.pixels, cv2.COLOR_GRAY2RGB)
    enlarging = width_px / spec.width_px
    upload_width, upload_height = picture.upload_px
    # One pixel of the field covers so many of the picture's; without averaging them thin lines would break up.
    covered = int(taken.px_per_mm * page.shape[1] / upload_width / (spec.px_per_mm * enlarging))
    if covered > 1:
        size = (page.shape[1] // covered, page.shape[0] // covered)
        page = cv2.resize(page, size, interpolation=cv2.INTER_AREA)
    to_upload = np.diag([upload_width / page.shape[1], upload_height / page.shape[0], 1.0])
    to_field = np.diag([enlarging, enlarging, 1.0]) @ taken.homography @ to_upload
    size = (width_px, round(spec.height_px * enlarging))
    field = cv2.warpPerspective(page, to_field, size, flags=cv2.INTER_LINEAR, borderValue=_BLANK)
    return np.asarray(field, dtype=np.uint8)


def _colour_and_strength(
    evidence: NDArray[np.floating], *, size_px: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    strongest = max(float(np.abs(evidence).max()), 1e-9)
    smooth: NDArray[np.float64] = cv2.resize(
        evidence.astype(np.float32) / strongest, size_px, interpolation=cv2.INTER_LINEAR
    ).astype(np.float64)
    colour = np.where(smooth[..., np.newaxis] > 0, FOR, AGAINST).astype(np.float64)
    return colour, _STRONGEST * np.abs(smooth)[..., np.newaxis] ** _CONTRAST
