"""Who the simulated patients are, what they have, and which fold they belong to.

A case is a pure function of (seed, ecg_id, patient): record 7 is the same in a
set of ten and of ten thousand. Only folds look at the whole set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vizecg.simulate.noise import NoiseLevel, noise_level

FOLDS: Final = 10

Codes = tuple[str, ...]
Choice = tuple[tuple[Codes, float], ...]


class Stream(IntEnum):
    """Keeps the draws of one seed apart: the second number of every generator."""

    VISITS = 1
    ILLNESS = 2
    VISIT = 3
    FOLD = 4
    HEART = 5
    RECORDING = 6


# Shares of PTB-XL's records (Wagner et al. 2020, table 2 and figure 3), rounded, so that NORM, MI, STTC, CD and
# HYP come to about 44, 25, 24, 22 and 12-13 %, and about 1.5 % have no diagnostic statement.
CLASS_MIX: Final[tuple[tuple[float, Codes], ...]] = (
    (0.413, ("NORM",)),
    (0.020, ("NORM", "CD")),
    (0.109, ("MI",)),
    (0.060, ("MI", "CD")),
    (0.030, ("MI", "STTC")),
    (0.014, ("MI", "STTC", "CD")),
    (0.017, ("MI", "STTC", "HYP")),
    (0.008, ("MI", "HYP")),
    (0.004, ("MI", "CD", "HYP")),
    (0.006, ("MI", "STTC", "CD", "HYP")),
    (0.108, ("STTC",)),
    (0.023, ("STTC", "CD")),
    (0.042, ("STTC", "HYP")),
    (0.010, ("STTC", "CD", "HYP")),
    (0.077, ("CD",)),
    (0.015, ("CD", "HYP")),
    (0.029, ("HYP",)),
    (0.015, ()),
)

CODES_OF_CLASS: Final[dict[str, Choice]] = {
    "NORM": ((("NORM",), 1.0),),
    "MI": (
        (("IMI",), 0.34),
        (("ASMI",), 0.32),
        (("ILMI",), 0.10),
        (("AMI",), 0.08),
        (("ALMI",), 0.06),
        (("LMI",), 0.04),
        (("ASMI", "IMI"), 0.06),
    ),
    "STTC": (
        (("NDT",), 0.42),
        (("NST_",), 0.17),
        (("ISC_",), 0.13),
        (("ISCAL",), 0.09),
        (("ISCIN",), 0.04),
        (("ISCIL",), 0.03),
        (("ISCAS",), 0.02),
        (("ISCLA",), 0.02),
        (("DIG", "NST_"), 0.02),
        (("DIG",), 0.03),
        (("LNGQT",), 0.03),
    ),
    "CD": (
        (("LAFB",), 0.29),
        (("IRBBB",), 0.21),
        (("1AVB",), 0.13),
        (("IVCD",), 0.11),
        (("CLBBB",), 0.10),
        (("CRBBB",), 0.07),
        (("CRBBB", "LAFB"), 0.04),
        (("LPFB",), 0.02),
        (("ILBBB",), 0.02),
        (("WPW",), 0.01),
    ),
    "HYP": (
        (("LVH",), 0.80),
        (("LAO/LAE",), 0.08),
        (("LVH", "LAO/LAE"), 0.05),
        (("RVH",), 0.04),
        (("RAO/RAE",), 0.02),
        (("SEHYP",), 0.01),
    ),
}
# What keeps company in PTB-XL: a normal ECG with an incomplete block, hypertrophy with strain.
_CD_WITH_NORM: Final[Choice] = ((("IRBBB",), 0.75), (("1AVB",), 0.10), (("LAFB",), 0.10), (("IVCD",), 0.05))
_STTC_WITH_HYP: Final[Choice] = ((("ISC_",), 0.75), (("NDT",), 0.12), (("NST_",), 0.08), (("DIG", "ISC_"), 0.05))
_HYP_WITH_STTC: Final[Choice] = ((("LVH",), 0.88), (("LVH", "LAO/LAE"), 0.12))

_FORM_OF: Final[dict[str, tuple[str, float]]] = {
    "IMI": ("QWAVE", 0.3),
    "ASMI": ("QWAVE", 0.2),
    "NDT": ("LOWT", 0.3),
    "NST_": ("STD_", 0.4),
    "ISC_": ("STD_", 0.4),
    "ISCAL": ("INVT", 0.4),
    "ISCIN": ("INVT", 0.3),
    "LVH": ("VCLVH", 0.3),
    "1AVB": ("LPR", 0.6),
}
_NEEDS_P_WAVES: Final = {"1AVB", "WPW", "LAO/LAE", "RAO/RAE"}
_RHYTHMS: Final = ("SR", "SBRAD", "STACH", "SARRH", "AFIB")
_HEALTHY_RHYTHMS: Final = (0.85, 0.06, 0.02, 0.07, 0.0)
_ILL_RHYTHMS: Final = (0.79, 0.03, 0.05, 0.02, 0.11)
_GOLDEN: Final = 0.6180339887498949


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One record before it is drawn."""

    ecg_id: int
    patient_id: int
    classes: Codes
    """Diagnostic classes; empty when no statement is diagnostic."""
    statements: tuple[tuple[str, float], ...]
    """SCP code and the likelihood noted beside it: diagnoses, then form and rhythm with 0, as in PTB-XL."""
    rhythm: str
    severity: float
    age_years: int
    sex: int
    """0 male, 1 female, as in PTB-XL."""
    height_cm: float | None
    weight_kg: float | None
    site: int
    device: str
    nurse: int | None
    noise: NoiseLevel

    @property
    def codes(self) -> Codes:
        """SCP codes without their likelihoods."""
        return tuple(code for code, _ in self.statements)


def patient_of_each_record(*, records: int, seed: int) -> NDArray[np.int_]:
    """Patient numbers, from 1, of records 1 to `records`; about one record in seven is a patient come again."""
    # Drawn row after row, so a longer set begins like a shorter one.
    again, how_long_ago = np.random.default_rng([seed, Stream.VISITS]).random((records, 2)).T
    patients = np.zeros(records, dtype=int)
    newest = 0
    for index in range(records):
        earlier = index - 1 - int(60 * how_long_ago[index] ** 2)
        if again[index] < 0.14 and earlier >= 0:
            patients[index] = patients[earlier]
        else:
            newest += 1
            patients[index] = newest
    return patients


def case(*, seed: int, ecg_id: int, patient_id: int) -> Case:
    """Draw what a record is of: the illness stays with the patient, rhythm and severity vary between visits."""
    person = np.random.default_rng([seed, Stream.ILLNESS, patient_id])
    visit = np.random.default_rng([seed, Stream.VISIT, ecg_id])
    classes = _classes(seed=seed, patient_id=patient_id)
    diagnoses = _diagnoses(classes, person)
    sex = int(person.random() < (0.55 if classes == ("NORM",) else 0.45))
    # Scars fade over the years: infarctions reach further down into what could be normal.
    severity = float(np.clip(person.normal(0.62 if "MI" in classes else 0.78, 0.27), 0.2, 1.25))
    age_years = _age(classes, person)
    height_cm = round(float(person.normal(165 if sex else 177, 7)))
    weight_kg = round(float(np.clip(person.normal(24 + sex, 4), 17, 42) * (height_cm / 100) ** 2))
    measured = person.random() < 0.35
    rhythm = _rhythm(diagnoses, classes, visit)
    likelihood = {code: float(visit.choice((100.0, 80.0, 50.0, 35.0), p=(0.7, 0.15, 0.1, 0.05))) for code in diagnoses}
    forms = [form for code in diagnoses if code in _FORM_OF for form in _form(code, visit)] if classes else ["ABQRS"]
    return Case(
        ecg_id=ecg_id,
        patient_id=patient_id,
        classes=classes,
        statements=(*likelihood.items(), *((code, 0.0) for code in dict.fromkeys(forms)), (rhythm, 0.0)),
        rhythm=rhythm,
        severity=float(np.clip(severity + visit.normal(0, 0.06), 0.18, 1.3)),
        age_years=age_years,
        sex=sex,
        height_cm=height_cm if measured else None,
        weight_kg=weight_kg if measured else None,
        site=int(visit.choice(4, p=(0.4, 0.4, 0.15, 0.05))),
        device=str(visit.choice(("SIM-A", "SIM-B", "SIM-C"), p=(0.5, 0.35, 0.15))),
        nurse=int(visit.integers(12)) if visit.random() < 0.9 else None,
        noise=noise_level(visit),
    )


def folds(cases: Sequence[Case], *, seed: int) -> dict[int, int]:
    """Deal patients into ten folds so that each has its share of every class.

    The rarest class is dealt first, each patient to the fold that lacks it most
    (iterative stratification; Sechidis, Tsoumakas, Vlahavas 2011). What is left
    over goes to folds 10 and 9, where every positive counts.

    Returns:
        patient_id -> fold, 1 to 10.
    """
    names = sorted({name for one in cases for name in one.classes})
    columns = {name: index for index, name in enumerate(names)}
    counts: dict[int, NDArray[np.float64]] = {}
    for one in cases:
        count = counts.setdefault(one.patient_id, np.zeros(len(names) + 1))
        count[[columns[name] for name in one.classes]] += 1
        count[-1] += 1  # the record itself
    wanted = np.tile(sum(counts.values()) / FOLDS, (FOLDS, 1))  # (folds, classes and records)
    totals = wanted.sum(axis=0)
    order = np.random.default_rng([seed, Stream.FOLD]).permutation(sorted(counts))
    rarest = {patient: _rarest(count, totals) for patient, count in counts.items()}
    chosen: dict[int, int] = {}
    for patient in sorted(order, key=lambda patient: totals[rarest[patient]]):
        count = counts[patient]
        # First what is rarest about this patient, then all of it, then the later fold.
        keys = np.round([np.arange(FOLDS), wanted @ count, wanted[:, rarest[patient]]], 6)
        fold = int(np.lexsort(keys)[-1])
        wanted[fold] -= count
        chosen[int(patient)] = fold + 1
    return chosen


def _rarest(count: NDArray[np.float64], totals: NDArray[np.float64]) -> int:
    return int(np.argmin(np.where(count > 0, totals, np.inf)))


def _classes(*, seed: int, patient_id: int) -> Codes:
    """Walk the mix by golden steps: any run of patients has nearly the shares of the whole."""
    start = np.random.default_rng([seed, Stream.ILLNESS]).random()
    place = (start + patient_id * _GOLDEN) % 1.0 * sum(share for share, _ in CLASS_MIX)
    for reached, (_, classes) in zip(accumulate(share for share, _ in CLASS_MIX), CLASS_MIX, strict=True):
        if place < reached:
            return classes
    return CLASS_MIX[-1][1]


def _diagnoses(classes: Codes, rng: np.random.Generator) -> Codes:
    found: list[str] = []
    for name in classes:
        choice = CODES_OF_CLASS[name]
        if name == "CD" and "NORM" in classes:
            choice = _CD_WITH_NORM
        elif name == "STTC" and "HYP" in classes:
            choice = _STTC_WITH_HYP
        elif name == "HYP" and "STTC" in classes:
            choice = _HYP_WITH_STTC
        weights = np.array([weight for _, weight in choice])
        found.extend(choice[int(rng.choice(len(choice), p=weights / weights.sum()))][0])
    return tuple(found)


def _age(classes: Codes, rng: np.random.Generator) -> int:
    mean, sd = (48, 18) if classes == ("NORM",) else (68, 13)
    return int(np.clip(rng.normal(mean, sd), 18, 96))


def _rhythm(diagnoses: Codes, classes: Codes, rng: np.random.Generator) -> str:
    shares = np.array(_HEALTHY_RHYTHMS if "NORM" in classes else _ILL_RHYTHMS)
    if not classes:
        shares = np.array((0.4, 0.0, 0.0, 0.0, 0.6))
    if not _NEEDS_P_WAVES.isdisjoint(diagnoses):
        shares[_RHYTHMS.index("AFIB")] = 0
    return str(rng.choice(_RHYTHMS, p=shares / shares.sum()))


def _form(code: str, rng: np.random.Generator) -> Codes:
    form, chance = _FORM_OF[code]
    return (form,) if rng.random() < chance else ()
