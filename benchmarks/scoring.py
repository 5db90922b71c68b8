"""How long scoring takes: all metrics of a set as large as fold 10 of PTB-XL, with their intervals, and its slices.

    python benchmarks/scoring.py --records 2200 --classes 5 --resamples 1000

Prints CPU seconds of all threads together; the limit that the project holds itself to is 10 for the metrics.
"""

import argparse
import time

import numpy as np

from vizecg.metrics import score
from vizecg.slices import Slice, score_slices


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--records", type=int, default=2200)
    options.add_argument("--classes", type=int, default=5)
    options.add_argument("--resamples", type=int, default=1000)
    options.add_argument("--slices", type=int, default=40)
    chosen = options.parse_args()
    labels, probabilities = made_up(chosen.records, classes=chosen.classes)
    timed(labels[:50], probabilities[:50], resamples=2)  # imports torchmetrics
    work = f"{chosen.records:,} records, {chosen.classes} classes, {chosen.resamples:,} resamples"
    print(f"{work}: {timed(labels, probabilities, resamples=chosen.resamples):.2f} s of CPU")
    seconds = timed_slices(labels, probabilities, resamples=chosen.resamples, slices=chosen.slices)
    print(f"{chosen.slices} slices of them: {seconds:.2f} s of CPU")


def made_up(records: int, *, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 2, (records, classes))
    return rng.random(logits.shape) < 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(-0.8 * logits))


def timed(labels: np.ndarray, probabilities: np.ndarray, *, resamples: int) -> float:
    classes = labels.shape[1]
    began_s = time.process_time()
    score(
        labels,
        probabilities,
        codes=[f"C{k}" for k in range(classes)],
        thresholds=[0.5] * classes,
        patient_ids=np.arange(len(labels)) * 10 // 11,
        resamples=resamples,
    )
    return time.process_time() - began_s


def timed_slices(labels: np.ndarray, probabilities: np.ndarray, *, resamples: int, slices: int) -> float:
    rng = np.random.default_rng(1)
    shares = rng.uniform(0.05, 0.5, slices)
    chosen = [rng.random(len(labels)) < share for share in shares]
    began_s = time.process_time()
    score_slices(
        labels,
        probabilities,
        slices=[Slice(kind="site", value=str(at), chosen=part, rest=~part) for at, part in enumerate(chosen)],
        codes=[f"C{k}" for k in range(labels.shape[1])],
        patient_ids=np.arange(len(labels)) * 10 // 11,
        resamples=resamples,
    )
    return time.process_time() - began_s


if __name__ == "__main__":
    main()
