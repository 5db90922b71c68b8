"""Are simulated records like real ones? Two questions, both answered on numbers.

    python benchmarks/simulated_and_real.py path/to/ptb-xl            # tables and networks
    python benchmarks/simulated_and_real.py path/to/ptb-xl --no-networks

1. Do rate, axis, intervals, voltages and noise spread as in the real records? One
   delineator, below, measures both.
2. Does what a network learns on one kind hold on the other? A plain signal network
   (resnet1d_wang) is trained on real records and asked about simulated ones, and the
   other way round.

Of the real records only folds 1 to 9 are used: fold 10 is for released models.
"""

import argparse
import platform
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.signal import butter, find_peaks, sosfiltfilt

from vizecg.bootstrap import interval, mean_of_defined, patient_weights, weighted_auroc
from vizecg.labels import LEADS, TASKS
from vizecg.models.baselines.resnet1d_wang import ResNet1dWang
from vizecg.ptbxl.table import read_table
from vizecg.recordings.offer import Reading
from vizecg.recordings.reading import read_records
from vizecg.signals import quality
from vizecg.simulate import write_database
from vizecg.sums import read_sums

HZ = 100
TASK = TASKS["superdiagnostic"]
QUANTILES = (0.05, 0.5, 0.95)
CROP = 250
RESAMPLES = 1000


@dataclass(frozen=True)
class Data:
    signals_uv: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    folds: np.ndarray


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("real", type=Path, help="a folder in PTB-XL's layout")
    options.add_argument("--records", type=int, default=1000, help="simulated records")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--epochs", type=int, default=30)
    options.add_argument("--no-networks", action="store_true")
    chosen = options.parse_args()
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as name:
        started_s = time.monotonic()
        write_database(Path(name) / "simulated", records=chosen.records, seed=chosen.seed, both_rates=False)
        print(f"{chosen.records} records simulated in {time.monotonic() - started_s:.1f} s, one process")
        simulated = load(Path(name) / "simulated")
    real = load(chosen.real)
    real = part(real, real.folds <= 9)
    print_prevalences(real, simulated)
    print_spreads(real, simulated)
    if not chosen.no_networks:
        learned = part(real, real.folds <= 8)
        show("trained on real (folds 1-8), asked about simulated", learned, simulated, epochs=chosen.epochs)
        show("trained on simulated, asked about real (folds 1-9)", simulated, real, epochs=chosen.epochs)
    print(f"CPython {platform.python_version()}, torch {torch.__version__}, 2 threads, {platform.machine()}")


def load(folder: Path) -> Data:
    sums = read_sums(folder)
    offers = read_table(folder, sums=sums, task=TASK, source="", sampling_hz=HZ, limit=None)
    offers = [offer for offer in offers if offer.record.classes]
    readings = read_records([offer.files for offer in offers], folder=folder, sampling_hz=HZ)
    pairs = [(offer.record, one) for offer, one in zip(offers, readings, strict=True) if isinstance(one, Reading)]
    return Data(
        signals_uv=np.stack([one.signals_uv for _, one in pairs]),
        labels=np.array([[code in record.classes for code in TASK.codes] for record, _ in pairs]),
        patients=np.array([record.patient_id for record, _ in pairs]),
        folds=np.array([record.fold for record, _ in pairs]),
    )


def part(data: Data, chosen: np.ndarray) -> Data:
    return Data(data.signals_uv[chosen], data.labels[chosen], data.patients[chosen], data.folds[chosen])


# Spreads


def measures(signal_uv: np.ndarray) -> dict[str, float]:
    """Measure one record by its mean beat: (12, samples) in, one number a quantity out; NaN where it cannot be had."""
    signal_mv = signal_uv / 1000.0
    smooth = sosfiltfilt(butter(2, [0.5, 40], "bandpass", fs=HZ, output="sos"), signal_mv, axis=1)
    energy = np.convolve((np.diff(smooth, axis=1) ** 2).sum(axis=0), np.ones(8) / 8, mode="same")
    peaks, _ = find_peaks(energy, distance=30, height=0.25 * np.quantile(energy, 0.99))
    found = {"noise µV": float(np.median(quality(signal_uv, sampling_hz=HZ).noise_uv))}
    found["drift mV"] = float(np.median(quality(signal_uv, sampling_hz=HZ).drift_uv)) / 1000
    if len(peaks) < 4:
        return found
    between_s = np.diff(peaks) / HZ
    found["heart rate 1/min"] = 60 / float(np.median(between_s))
    inside = peaks[(peaks > 35) & (peaks < signal_uv.shape[1] - 55)]
    if len(inside) < 3:
        return found
    beat = np.median([smooth[:, peak - 35 : peak + 55] for peak in inside], axis=0)
    rest = np.median(beat[:, 22:27], axis=1, keepdims=True)
    return found | of_beat(beat - rest)


def of_beat(beat_mv: np.ndarray) -> dict[str, float]:
    """Measure a mean beat, (12, 90), its steepest moment at sample 35."""
    qrs = beat_mv[:, 27:45]
    steep = np.abs(np.diff(beat_mv, axis=1)).sum(axis=0)
    wide = np.flatnonzero(steep[20:55] > 0.15 * steep[25:48].max()) + 20
    wave = beat_mv[:, 48:85]
    lead = {name: number for number, name in enumerate(LEADS)}
    axis = np.degrees(np.arctan2(2 / np.sqrt(3) * qrs[lead["aVF"]].sum(), qrs[lead["I"]].sum()))
    found = {"QRS ms": 1000 * (wide[-1] - wide[0] + 1) / HZ, "QRS axis °": float(axis)}
    t_end = 48 + np.abs(wave).sum(axis=0).argmax() + 6
    found["QT ms"] = 1000 * float(t_end - wide[0]) / HZ
    before = np.abs(beat_mv[[lead["II"], lead["V1"]], 2:24]).sum(axis=0)
    found["PR ms"] = 1000 * float(wide[0] - (2 + before.argmax() - 4)) / HZ
    for name in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"):
        found[f"R in {name} mV"] = float(qrs[lead[name]].max())
        found[f"S in {name} mV"] = float(-qrs[lead[name]].min())
        wave_at = np.abs(wave[lead[name], :30]).argmax()
        found[f"T in {name} mV"] = float(wave[lead[name], wave_at])
    return found


def print_prevalences(real: Data, simulated: Data) -> None:
    print("\n| class | real | simulated |\n|---|---|---|")
    for k, code in enumerate(TASK.codes):
        print(f"| {code} | {real.labels[:, k].mean():.1%} | {simulated.labels[:, k].mean():.1%} |")


def print_spreads(real: Data, simulated: Data) -> None:
    tables = [[measures(signal) for signal in data.signals_uv] for data in (real, simulated)]
    print("\n| quantity | real 5 % | median | 95 % | simulated 5 % | median | 95 % | within |\n|" + "---|" * 8)
    for name in max(tables[0], key=len):
        quantiles = [np.nanquantile([row.get(name, np.nan) for row in table], QUANTILES) for table in tables]
        (low, _, high), (low_simulated, _, high_simulated) = quantiles
        within = "yes" if low <= low_simulated and high_simulated <= high else "no"
        numbers = " | ".join(f"{value:.2f}" for one in quantiles for value in one)
        print(f"| {name} | {numbers} | {within} |")


# Networks


def train(data: Data, *, epochs: int) -> ResNet1dWang:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = ResNet1dWang(leads=len(LEADS), labels=len(TASK.codes))
    signals = torch.from_numpy(data.signals_uv.astype(np.float32) / 1000)
    labels = torch.from_numpy(data.labels.astype(np.float32))
    steps = epochs * -(-len(signals) // 64)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.005, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.005, total_steps=steps)
    network.train()
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(signals)), -(-len(signals) // 64)):
            starts = rng.integers(0, signals.shape[2] - CROP, len(rows))
            batch = torch.stack(
                [signals[row, :, start : start + CROP] for row, start in zip(rows, starts, strict=True)]
            )
            loss = torch.nn.functional.binary_cross_entropy_with_logits(network(batch), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return network.eval()


def show(title: str, learned: Data, asked: Data, *, epochs: int) -> None:
    started_s = time.monotonic()
    network = train(learned, epochs=epochs)
    with torch.no_grad():
        signals = torch.from_numpy(asked.signals_uv.astype(np.float32) / 1000)
        said = torch.cat([network(chunk) for chunk in signals.split(64)]).numpy()
    weights = patient_weights(asked.patients, resamples=RESAMPLES, seed=0)
    once = np.ones((1, len(said)))
    print(
        f"\n{title}: {len(learned.labels)} -> {len(asked.labels)} records, {epochs} epochs, "
        f"{time.monotonic() - started_s:.0f} s\n\n| class | AUROC (95 %) |\n|---|---|"
    )
    columns = [weighted_auroc(asked.labels[:, k], said[:, k], weights) for k in range(len(TASK.codes))]
    values = [float(weighted_auroc(asked.labels[:, k], said[:, k], once)[0]) for k in range(len(TASK.codes))]
    every = [*zip(TASK.codes, values, columns, strict=True)]
    every.append(("macro", float(np.mean(values)), mean_of_defined(np.stack(columns, axis=1))))
    for code, value, resampled in every:
        ends = interval(resampled, confidence=0.95)
        print(f"| {code} | {value:.3f} ({ends.low:.3f}-{ends.high:.3f}) |")


if __name__ == "__main__":
    main()
