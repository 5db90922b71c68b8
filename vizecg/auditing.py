"""`vizecg audit`: check a trail, and answer again what it says was answered."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import click

from vizecg import bundle, chain
from vizecg.answer import Answer
from vizecg.audit import PREDICTION, PredictionLine
from vizecg.chain import BrokenChain
from vizecg.errors import InputError
from vizecg.predictor import Predictor
from vizecg.publish import sha256_of

DIFFERS: Final = 3
Verdict = Literal["same", "differs", "no image", "other model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One line of the trail and what is answered today."""

    line: PredictionLine
    verdict: Verdict
    decision: str | None = None
    worst: float | None = None
    """Largest difference of a probability."""


def show_verified(folder: Path, *, holds: Sequence[str] = ()) -> None:
    """Print what each chain holds.

    Args:
        folder: of the trail.
        holds: digests of lines noted earlier, that must still be there.

    Raises:
        InputError: the folder holds no trail.
        BrokenChain: a line is not as it was written, or one that was noted is gone.
    """
    missing = set(holds)
    for report, lines in chain.verify(folder):
        for line in lines:
            missing.discard(line.digest)
        click.echo(f"{report.name}: {report.lines} lines in {report.files} files, last digest {report.head}")
        for where in report.torn:
            click.echo(f"  torn and closed off: {where}")
        if report.unfinished is not None:
            click.echo(f"  no end yet, being written or torn: {report.unfinished}")
    if missing:
        raise BrokenChain(f"{folder} holds no line of digest {min(missing)}: it was changed or cut off")


def show_replayed(folder: Path, *, images: Path, bundle_folder: Path, tolerance: float | None) -> int:
    """Answer again and print a line for each prediction.

    Args:
        folder: of the trail, which is verified.
        images: folder, with those below it, in which inputs are found by their SHA-256.
        bundle_folder: the model.
        tolerance: how far a probability may be off; None: as far as the bundle allows its goldens.

    Returns:
        The exit code: 3 when an answer differs, else 0.

    Raises:
        InputError: there is nothing to compare, or no trail, bundle or folder.
        BrokenChain: the trail is not as it was written.
    """
    predictor = Predictor.load(bundle_folder)
    allowed = bundle.read(bundle_folder)[1].tolerance.probabilities if tolerance is None else tolerance
    known = {sha256_of(path): path for path in images.rglob("*") if path.is_file()}
    found = list(_replayed(folder, known=known, predictor=predictor, tolerance=allowed))
    click.echo("time                 request           input         then     now      off      verdict")
    for one in found:
        click.echo(_row(one))
    counts = {verdict: sum(one.verdict == verdict for one in found) for verdict in ("same", "differs")}
    left = len(found) - sum(counts.values())
    click.echo(f"{counts['same']} same, {counts['differs']} differ by more than {allowed:g}, {left} not compared")
    if not sum(counts.values()):
        raise InputError(f"no prediction of {folder} by this bundle has its image in {images}")
    return DIFFERS if counts["differs"] else 0


def predictions(folder: Path) -> Iterator[PredictionLine]:
    """Read the predictions of a trail, which is verified on the way.

    Raises:
        InputError, BrokenChain: as `chain.verify`.
    """
    for _, lines in chain.verify(folder):
        for line in lines:
            if line.content.get("kind") == PREDICTION:
                yield PredictionLine.model_validate(line.content)


def _replayed(folder: Path, *, known: dict[str, Path], predictor: Predictor, tolerance: float) -> Iterator[Replayed]:
    answers: dict[str, Answer] = {}
    for line in predictions(folder):
        if line.model.bundle_digest != predictor.identity.bundle_digest:
            yield Replayed(line=line, verdict="other model")
        elif line.input_sha256 not in known:
            yield Replayed(line=line, verdict="no image")
        else:
            if line.input_sha256 not in answers:
                answers[line.input_sha256] = predictor.predict(known[line.input_sha256].read_bytes())
            yield _compared(line, answers[line.input_sha256], tolerance=tolerance)


def _compared(line: PredictionLine, answer: Answer, *, tolerance: float) -> Replayed:
    then = {output.code: output.probability for output in line.outputs}
    now = {label.code: label.probability for label in answer.labels}
    comparable = then.keys() == now.keys()
    worst = max((abs(then[code] - now[code]) for code in then), default=0.0) if comparable else None
    same = worst is not None and worst <= tolerance and line.decision == answer.decision
    return Replayed(line=line, verdict="same" if same else "differs", decision=answer.decision, worst=worst)


def _row(one: Replayed) -> str:
    worst = "-" if one.worst is None else f"{one.worst:.1e}"
    line = one.line
    return (
        f"{line.time:%Y-%m-%d %H:%M:%S}  {line.request_id[:16]:16}  {line.input_sha256[:12]}  "
        f"{line.decision:7}  {one.decision or '-':7}  {worst:7}  {one.verdict}"
    )
