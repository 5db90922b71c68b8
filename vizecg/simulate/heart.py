"""A beating heart as a dipole: Gaussians in time along the axes of the body.

Model: McSharry, Clifford, Tarassenko, Smith, "A dynamical model for generating
synthetic electrocardiogram signals" (2003), carried to three axes by Sameni,
Clifford, Jutten, Shamsollahi, "Multichannel ECG and noise modeling" (2007).
Unlike there, waves are placed in seconds from the R peak and not in phase, so a
faster heart shortens QT and the pause between beats but never the QRS complex.

Axes: x to the patient's left, y down, z to the back. Leads come from Dower's
matrix (Dower, Machado, Osborne 1980), so lead relations hold by construction.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Vector = tuple[float, float, float]
Rhythm = Literal["SR", "SBRAD", "STACH", "SARRH", "AFIB"]

SAMPLING_HZ = 500
DURATION_S = 10.0
MARGIN_S = 0.2
"""Drawn before and after a record and cut off, so that filters see no edge."""

BEAT_START_S, BEAT_STOP_S = -0.5, 0.85
"""Reach of one beat around its R peak: the longest PR before it, the longest QT after it."""

QRS_ONSET_S = -0.040
"""Where an ordinary QRS complex begins, before its R peak."""

# Rows: I, II, V1 to V6, the eight independent leads.
DOWER: Floats = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)
CHEST_GAIN: Floats = np.array([1.0, 0.95, 0.85, 1.0, 1.0, 0.92, 0.90, 0.87])[:, None]
"""By how much PTB-XL's leads differ from Dower's: his V1 has too tall an r, his V4 to V6 too tall an R."""

# Lead I, and aVF stretched by 2/sqrt(3) so that both are seen at one scale: the axis is the angle between them.
_FRONTAL = np.array([DOWER[0, :2], (DOWER[1, :2] - DOWER[0, :2] / 2) * 2 / np.sqrt(3)])
_FRONTAL_TO_XY: Floats = np.linalg.inv(_FRONTAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """One Gaussian of the dipole.

    `at_s` counts from the R peak; with `follows_qt` it counts from the QRS onset
    plus QT, so that the T wave comes earlier in a faster heart.
    """

    at_s: float
    width_s: float
    mv: Vector
    follows_qt: bool = False

    def __post_init__(self) -> None:
        if not self.width_s > 0:
            raise ValueError(f"Wave.width_s must be above 0, got {self.width_s!r}")


@dataclass(slots=True, kw_only=True)
class Heart:
    """One heart on one day: what diseases change before it is made to beat."""

    pr_s: float
    qtc_s: float
    beats_per_minute: float
    rhythm: Rhythm = "SR"
    waves: dict[str, Wave] = field(default_factory=dict)
    leads: Floats = field(default_factory=DOWER.copy)
    """(8, 3) dipole to I, II, V1 to V6: Dower's matrix for this chest."""

    def scale(self, *names: str, by: float) -> None:
        """Make waves larger (above 1), smaller, or turn them over (below 0)."""
        for name in names:
            x, y, z = self.waves[name].mv
            self.waves[name] = replace(self.waves[name], mv=(x * by, y * by, z * by))

    def push(self, *names: str, towards: Vector, mv: float) -> None:
        """Add `mv` along a direction to waves."""
        x, y, z = unit(towards)
        for name in names:
            was = self.waves[name].mv
            self.waves[name] = replace(self.waves[name], mv=(was[0] + x * mv, was[1] + y * mv, was[2] + z * mv))

    def lose(self, *names: str, towards: Vector, share: float) -> None:
        """Take away a share of what waves have along a direction, if they point that way."""
        for name in names:
            along = float(np.dot(self.waves[name].mv, unit(towards)))
            self.push(name, towards=towards, mv=-share * max(along, 0.0))

    def widen(self, *names: str, by: float) -> None:
        """Stretch waves in time about the QRS onset."""
        for name in names:
            wave = self.waves[name]
            at_s = wave.at_s if wave.follows_qt else QRS_ONSET_S + (wave.at_s - QRS_ONSET_S) * by
            self.waves[name] = replace(wave, width_s=wave.width_s * by, at_s=at_s)


QRS_WAVES = ("septal", "main", "basal")
T_WAVES = ("t_rise", "t_fall")
P_WAVES = ("p_right", "p_left")


def unit(direction: Vector) -> Vector:
    """The direction at length 1."""
    x, y, z = np.asarray(direction) / np.linalg.norm(direction)
    return float(x), float(y), float(z)


def frontal(*, axis_degrees: float, mv: float) -> tuple[float, float]:
    """Solve for x and y of a dipole that leads I and aVF read at this electrical axis and size."""
    angle = np.deg2rad(axis_degrees)
    x, y = _FRONTAL_TO_XY @ (mv * np.cos(angle), mv * np.sin(angle))
    return float(x), float(y)


def healthy_heart(*, age_years: float, rng: np.random.Generator) -> Heart:
    """Draw a healthy heart and its chest; the same generator state gives the same person.

    Sizes are centred on what textbooks call normal and spread about as widely as
    people are: axis from -28° to 95° and further left with age, V5's R near 1.2 mV.
    """
    voltage = float(np.exp(rng.normal(-0.03, 0.21)))
    axis_degrees = float(np.clip(rng.normal(52 - 0.45 * (age_years - 45), 24), -14, 90))
    heart = Heart(
        pr_s=float(np.clip(rng.normal(0.150 + 0.0003 * (age_years - 45), 0.017), 0.12, 0.192)),
        qtc_s=float(np.clip(rng.normal(0.405, 0.014), 0.37, 0.44)),
        beats_per_minute=float(np.clip(rng.normal(71, 12), 60.5, 99)),
    )
    _add_atria(heart, rng=rng)
    _add_ventricles(heart, axis_degrees=axis_degrees, voltage=voltage, rng=rng)
    _add_repolarisation(heart, voltage=voltage**0.6, rng=rng)
    # Where electrodes sit and what lies between them and the heart, which differs most on the chest.
    spread = np.array([0.05, 0.05, *[0.17] * 6])[:, None]
    gain = np.exp(spread * rng.standard_normal((8, 1)))
    gain *= CHEST_GAIN
    heart.leads = DOWER * gain + 0.5 * spread * np.abs(DOWER).mean() * rng.standard_normal((8, 3))
    heart.widen(*QRS_WAVES, by=float(np.clip(rng.normal(1.05, 0.06), 0.92, 1.17)))
    return heart


def _spread(vector: Vector, *, sd: float, rng: np.random.Generator) -> Vector:
    x, y, z = np.asarray(vector) + sd * rng.standard_normal(3)
    return float(x), float(y), float(z)


def _add_atria(heart: Heart, *, rng: np.random.Generator) -> None:
    size = float(np.exp(rng.normal(0, 0.22)))
    # Placed from the QRS onset by `pr_s` when the heart beats; here relative to the middle of P.
    heart.waves["p_right"] = Wave(at_s=-0.016, width_s=0.019, mv=_spread((0.035, 0.060, -0.045), sd=0.010, rng=rng))
    heart.waves["p_left"] = Wave(at_s=0.018, width_s=0.021, mv=_spread((0.060, 0.055, 0.030), sd=0.010, rng=rng))
    heart.scale(*P_WAVES, by=size)


def _add_ventricles(heart: Heart, *, axis_degrees: float, voltage: float, rng: np.random.Generator) -> None:
    x, y = frontal(axis_degrees=axis_degrees, mv=float(rng.normal(1.02, 0.12)))
    # A vertical heart shows less of itself to the left-hand electrodes in Dower's matrix than real chests do.
    x = 0.55 * x + 0.45 * 1.05
    heart.waves["septal"] = Wave(at_s=-0.019, width_s=0.0085, mv=_spread((-0.09, 0.03, -0.35), sd=0.075, rng=rng))
    heart.waves["main"] = Wave(at_s=0.0, width_s=0.0105, mv=_spread((x, y, 0.22), sd=0.09, rng=rng))
    heart.waves["basal"] = Wave(at_s=0.019, width_s=0.0095, mv=_spread((-0.13, -0.10, 0.70), sd=0.10, rng=rng))
    heart.scale(*QRS_WAVES, by=voltage)


def _add_repolarisation(heart: Heart, *, voltage: float, rng: np.random.Generator) -> None:
    size = voltage * float(np.exp(rng.normal(0, 0.25)))
    x, y, z = _spread((0.29, 0.15, -0.22), sd=0.055, rng=rng)
    # T climbs slowly and falls fast: a wide Gaussian before a narrow one.
    heart.waves["t_rise"] = Wave(at_s=-0.112, width_s=0.052, mv=(0.50 * x, 0.50 * y, 0.50 * z), follows_qt=True)
    heart.waves["t_fall"] = Wave(at_s=-0.078, width_s=0.032, mv=(0.62 * x, 0.62 * y, 0.62 * z), follows_qt=True)
    early = max(float(rng.normal(0.02, 0.02)), -0.01)  # ST rises a little towards T, more in some people
    heart.waves["st"] = Wave(at_s=0.095, width_s=0.038, mv=(early, 0.7 * early, -early))
    heart.scale(*T_WAVES, by=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beating:
    """What a heart did for `DURATION_S`, with `MARGIN_S` of signal before and after."""

    leads_mv: Floats
    """(8, samples) I, II, V1 to V6 at `SAMPLING_HZ`, margins included."""
    r_peaks_s: Floats
    """(beats,) times of the R peaks that lie in the record, from its start."""


def beat(heart: Heart, *, rng: np.random.Generator) -> Beating:
    """Let a heart beat: rhythm, dipole, leads, without noise."""
    breaths_hz, breath_phase = rng.uniform(0.18, 0.32), rng.uniform(0, 2 * np.pi)
    r_s, rr_s = _rhythm(heart, breaths_hz=breaths_hz, breath_phase=breath_phase, rng=rng)
    breath = np.sin(2 * np.pi * breaths_hz * r_s + breath_phase)
    # Breathing lifts and tilts the heart: a few per cent of size, a few degrees of axis.
    tilt = np.deg2rad(rng.uniform(0.5, 4.0)) * breath
    dipole_mv = _dipole(heart, r_s=r_s, rr_s=rr_s, tilt=tilt, swell=1 + rng.uniform(0.005, 0.04) * breath)
    if heart.rhythm == "AFIB":
        dipole_mv += _fibrillation(dipole_mv.shape[1], rng=rng)
    inside = (r_s >= 0) & (r_s < DURATION_S)
    return Beating(leads_mv=heart.leads @ dipole_mv, r_peaks_s=r_s[inside])


def _rhythm(heart: Heart, *, breaths_hz: float, breath_phase: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Times of R peaks from before the record to after it, and the interval before each."""
    mean_rr_s = 60 / heart.beats_per_minute
    count = int((DURATION_S + 4) / max(0.55 * mean_rr_s, 0.3)) + 2
    if heart.rhythm == "AFIB":
        # Conduction at random: intervals independent of each other, none shorter than the AV node allows.
        intervals_s = np.maximum(mean_rr_s * rng.gamma(22, 1 / 22, count), 0.34)
    else:
        breathing = rng.uniform(0.13, 0.2) if heart.rhythm == "SARRH" else min(rng.gamma(1.6, 0.017), 0.10)
        slow = min(rng.gamma(2.0, 0.006), 0.05)  # the 0.1 Hz wave of blood pressure
        nominal_s = np.arange(count) * mean_rr_s - 2
        phase = rng.uniform(0, 2 * np.pi)
        intervals_s = mean_rr_s * (
            1
            + breathing * np.sin(2 * np.pi * breaths_hz * nominal_s + breath_phase + 0.8)
            + slow * np.sin(2 * np.pi * 0.1 * nominal_s + phase)
            + 0.004 * rng.standard_normal(count)
        )
    r_s = np.cumsum(intervals_s) - 2 - rng.uniform(0, mean_rr_s)
    near = (r_s > -MARGIN_S - BEAT_STOP_S) & (r_s < DURATION_S + MARGIN_S - BEAT_START_S)
    return r_s[near], intervals_s[near]


def _dipole(heart: Heart, *, r_s: Floats, rr_s: Floats, tilt: Floats, swell: Floats) -> Floats:
    """(3, samples) the dipole in mV, margins included."""
    names = [name for name in heart.waves if not (heart.rhythm == "AFIB" and name in P_WAVES)]
    waves = [heart.waves[name] for name in names]
    # Fridericia: QT grows with the cube root of RR. QT lags behind the rate, so a single short beat moves it by half.
    settled_rr_s = 0.5 * rr_s + 0.5 * rr_s.mean()
    qt_s = heart.qtc_s * np.cbrt(settled_rr_s)
    p_s = QRS_ONSET_S - heart.pr_s + 0.055  # P begins 55 ms before its middle
    base_s = np.array(
        [p_s if name in P_WAVES else QRS_ONSET_S if heart.waves[name].follows_qt else 0 for name in names]
    )
    at_s = np.array([wave.at_s for wave in waves]) + base_s  # (waves,)
    follows = np.array([wave.follows_qt for wave in waves])
    centre_s = at_s + follows * qt_s[:, None]  # (beats, waves)
    width_s = np.array([wave.width_s for wave in waves])
    mv = np.array([wave.mv for wave in waves])  # (waves, 3)
    turned = mv @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0]])  # a quarter turn in the frontal plane
    vectors = swell[:, None, None] * (mv + tilt[:, None, None] * turned)  # (beats, waves, 3)
    offsets_s = np.arange(round((BEAT_STOP_S - BEAT_START_S) * SAMPLING_HZ)) / SAMPLING_HZ + BEAT_START_S
    starts = np.floor((r_s + MARGIN_S) * SAMPLING_HZ).astype(int)
    late_s = r_s + MARGIN_S - starts / SAMPLING_HZ  # R peaks fall between samples
    time_s = offsets_s - late_s[:, None]  # (beats, window)
    bells = np.exp(-0.5 * ((time_s[:, None, :] - centre_s[:, :, None]) / width_s[:, None]) ** 2)
    beats_mv = vectors.transpose(0, 2, 1) @ bells  # (beats, 3, window)
    return _overlay(beats_mv, starts=starts + round(BEAT_START_S * SAMPLING_HZ))


def _overlay(beats_mv: Floats, *, starts: NDArray[np.int_]) -> Floats:
    """Add beats into one strip; they overlap where the heart is fast."""
    total = round((DURATION_S + 2 * MARGIN_S) * SAMPLING_HZ)
    window = beats_mv.shape[2]
    strip = np.zeros((3, total + 2 * window))
    for one_beat, start in zip(beats_mv, starts, strict=True):
        if -window <= start <= total:
            strip[:, start + window : start + 2 * window] += one_beat
    return strip[:, window : window + total]


def _fibrillation(samples: int, *, rng: np.random.Generator) -> Floats:
    """(3, samples) the small restless waves of fibrillating atria, largest in V1 and II."""
    time_s = np.arange(samples) / SAMPLING_HZ
    size_mv = np.exp(rng.normal(np.log(0.045), 0.4))
    wander = np.cumsum(rng.standard_normal(samples)) * 0.03
    phase = 2 * np.pi * rng.uniform(5, 7.5) * time_s + wander + rng.uniform(0, 2 * np.pi)
    swing = 1 + 0.45 * np.sin(2 * np.pi * rng.uniform(0.3, 0.8) * time_s + rng.uniform(0, 2 * np.pi))
    shape = swing * (np.sin(phase) + 0.4 * np.sin(2 * phase + 0.7))
    return np.outer((0.1, 0.7, -0.9), size_mv * shape)
