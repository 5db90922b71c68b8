"""Makes `vizecg/intake/upright_beat.csv`: what surrounds a beat on a page that is the right way up.

    python benchmarks/upright_beat.py vizecg/intake/upright_beat.csv

A T wave follows its QRS and a P wave goes before it, most R waves point up, names stand above
their leads: the mean surroundings of a page's steep strokes, less the same turned upside down,
tell which way up it is. The weights are a ridge regression on pages of simulated records in
all drawn styles without their calibration pulses, so that they serve where no pulse does.
Prints on how many pages of other simulated records, and of `--real` ones, they are right.
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from vizecg.intake.pulse import PULSE_PX_PER_MM
from vizecg.intake.upright import lopsidedness
from vizecg.page import GRIDS, draw_page, draw_style, draw_text
from vizecg.recordings.single import read_wfdb
from vizecg.simulate import recordings

PATCH = (17, 49)
RIDGE = 1.0
FULL = 127


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("out", type=Path)
    options.add_argument("--pages", type=int, default=1500)
    options.add_argument("--real", type=Path, help="folder of WFDB records to check with, searched through")
    chosen = options.parse_args()
    made = lopsided(simulated(chosen.pages, seed=1), seed=1)
    size = made.shape[1]
    weights = np.linalg.solve(made.T @ made + RIDGE * np.eye(size), made.T @ np.ones(len(made)))
    table = np.rint(weights / np.abs(weights).max() * FULL).astype(int)
    rows = table.reshape(PATCH)
    chosen.out.write_text("".join(",".join(map(str, row)) + "\n" for row in rows.tolist()), encoding="utf-8")
    report("other simulated pages", lopsided(simulated(400, seed=2), seed=2) @ table)
    if chosen.real:
        headers = sorted(chosen.real.rglob("*.hea"))[:400]
        signals = (read_wfdb(header).signal_mv for header in headers)
        report("real pages", lopsided(signals, seed=3) @ table)


def simulated(number: int, *, seed: int) -> Iterator[np.ndarray]:
    """(12, samples) mV each, with disease as often as PTB-XL has it."""
    for one in recordings(records=number, seed=seed):
        yield one.low_uv / 1000.0


def lopsided(signals: Iterable[np.ndarray], *, seed: int) -> np.ndarray:
    """(pages, features), each of norm 1."""
    rng = np.random.default_rng(seed)
    features = []
    for signal_mv in signals:
        style = draw_style(rng)
        bare = replace(style, grid=GRIDS["none"], paper_colour=(255, 255, 255), pulse=replace(style.pulse, side="none"))
        page = draw_page(
            signal_mv, sampling_hz=100, style=bare, px_per_mm=2 * PULSE_PX_PER_MM, text=draw_text(bare, rng=rng)
        )
        ink = cv2.resize(255 - page.gray, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        level = cv2.convertScaleAbs(ink, alpha=1.4)
        features.append(lopsidedness(level, np.ascontiguousarray(level[::-1, ::-1])).ravel())
    return np.stack(features)


def report(what: str, scores: np.ndarray) -> None:
    print(f"{what}: right on {int((scores > 0).sum())} of {len(scores)}")


if __name__ == "__main__":
    main()
