"""What electrodes add to the heart: breath, hum, muscle, motion.

Noise is made at the nine electrodes and reaches the leads as the heart does, so
Einthoven's and Goldberger's relations hold in its presence too.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vizecg.simulate.heart import DURATION_S, SAMPLING_HZ, Floats

MAINS_HZ = 50.0

# Columns: right arm, left arm, left leg, V1 to V6. Chest leads are read against the mean of the three limbs.
_ELECTRODES_TO_LEADS: Floats = np.vstack(
    [
        [-1, 1, 0, *[0] * 6],
        [-1, 0, 1, *[0] * 6],
        np.hstack([np.full((6, 3), -1 / 3), np.eye(6)]),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseLevel:
    """How noisy one recording is, in microvolts at a typical electrode (standard deviation)."""

    drift_uv: float
    hum_uv: float
    muscle_uv: float
    electrode_moves: int
    """How often an electrode is knocked during the recording."""

    @property
    def drifts(self) -> bool:
        """Whether a reader would note baseline drift."""
        return self.drift_uv > 120

    @property
    def is_rough(self) -> bool:
        """Whether a reader would note static noise."""
        return math.hypot(self.hum_uv, self.muscle_uv) > 15


def noise_level(rng: np.random.Generator) -> NoiseLevel:
    """Draw how noisy a recording is: mostly quiet, now and then bad."""
    return NoiseLevel(
        drift_uv=float(np.clip(np.exp(rng.normal(np.log(46), 0.62)), 8, 320)),
        hum_uv=float(np.clip(np.exp(rng.normal(np.log(1.3), 0.9)), 0, 22)),
        muscle_uv=float(np.clip(np.exp(rng.normal(np.log(5.0), 0.62)), 1.2, 28)),
        electrode_moves=int(rng.random() < 0.10) + int(rng.random() < 0.03),
    )


def electrode_noise(*, samples: int, level: NoiseLevel, rng: np.random.Generator) -> Floats:
    """Noise as the eight independent leads see it.

    Returns:
        (8, samples) I, II, V1 to V6 in mV at `SAMPLING_HZ`.
    """
    time_s = np.arange(samples) / SAMPLING_HZ
    noise_uv = _drift(time_s, level=level, rng=rng)
    noise_uv += _hum(time_s, level=level, rng=rng)
    noise_uv += _muscle(time_s, level=level, rng=rng)
    for _ in range(level.electrode_moves):
        noise_uv[rng.integers(9)] += _motion(time_s, rng=rng)
    leads_uv: Floats = _ELECTRODES_TO_LEADS @ noise_uv
    return leads_uv / 1000


def _drift(time_s: Floats, *, level: NoiseLevel, rng: np.random.Generator) -> Floats:
    """Breath and skin: a few slow waves, shared by electrodes in different measure."""
    hz = np.array([0.05, 0.09, 0.15, 0.22, 0.33, 0.47]) * rng.uniform(0.8, 1.2, 6)
    waves = np.sin(2 * np.pi * hz[:, None] * time_s + rng.uniform(0, 2 * np.pi, (6, 1)))
    shares = rng.standard_normal((9, 6)) * np.array([1.0, 0.8, 0.55, 0.6, 0.35, 0.2])
    drift: Floats = level.drift_uv * 0.8 * shares @ waves
    return drift


def _hum(time_s: Floats, *, level: NoiseLevel, rng: np.random.Generator) -> Floats:
    """Mains: one frequency, each electrode with its own size and phase, so built from a sine and a cosine."""
    angle = 2 * np.pi * MAINS_HZ * time_s
    hum: Floats = level.hum_uv * rng.standard_normal((9, 2)) @ np.vstack([np.sin(angle), np.cos(angle)])
    return hum


def _muscle(time_s: Floats, *, level: NoiseLevel, rng: np.random.Generator) -> Floats:
    """Muscle: broad noise above 20 Hz, stronger at the limbs, in bursts."""
    white = rng.standard_normal((9, time_s.size + 4), dtype=np.float32)
    high: NDArray[np.float32] = (white[:, 4:] + white[:, 3:-1] - white[:, 1:-3] - white[:, :-4]) * np.float32(0.5)
    burst = 1 + rng.uniform(0, 1.2) * np.exp(
        -0.5 * ((time_s - rng.uniform(0, DURATION_S)) / rng.uniform(0.4, 2.0)) ** 2
    )
    place = np.array([1.2, 1.2, 1.0, *[0.75] * 6])[:, None] * np.exp(0.25 * rng.standard_normal((9, 1)))
    scaled: Floats = level.muscle_uv * place * high * burst
    return scaled


def _motion(time_s: Floats, *, rng: np.random.Generator) -> Floats:
    """A knocked electrode: a step that leaks away over about a second."""
    since_s = time_s - rng.uniform(0.5, DURATION_S)
    rise = 1 / (1 + np.exp(np.clip(-since_s / 0.03, -50, 50)))
    fall = np.exp(-np.clip(since_s, 0, None) / rng.uniform(0.25, 0.8))
    size_uv = float(rng.choice((-1, 1)) * rng.uniform(120, 450))
    bump: Floats = size_uv * rise * fall
    return bump
