"""Progress of long work: a bar for people, a line now and then for logs."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

    from vizecg.training import EpochReport, StepReport

Item = TypeVar("Item")

LINE_EVERY_S: Final = 10.0


def tracked(items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
    """Pass items through and show on stderr how far they have come.

    Args:
        items: the work, made as it is asked for.
        total: how many there will be.
        what: their name in the plural.
    """
    if sys.stderr.isatty():
        yield from _with_bar(items, total=total, what=what)
    else:
        yield from _with_lines(items, total=total, what=what)


def _with_bar(items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
    with _bar(total=total, what=what) as advance:
        for item in items:
            yield item
            advance(1)


@contextmanager
def _bar(*, total: int, what: str) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total)
        yield lambda more: progress.advance(task, more)


def _with_lines(items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
    first_s = said_s = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now_s = time.monotonic()
        if done == 1:
            first_s = now_s  # the first one waits for compilers and imports, which says nothing of the others
        if now_s - said_s >= LINE_EVERY_S and done < total:
            left = f", about {(now_s - first_s) / (done - 1) * (total - done):.0f} s left" if done > 1 else ""
            print(f"{what}: {done} of {total}{left}", file=sys.stderr, flush=True)
            said_s = now_s


@contextmanager
def counting(*, total: int, what: str) -> Iterator[Callable[[int], None]]:
    """Show on stderr how far work has come that tells of itself; what it gives is called with how much more is done.

    Args:
        total: how much there will be.
        what: its name in the plural.
    """
    if sys.stderr.isatty():
        with _bar(total=total, what=what) as advance:
            yield advance
    else:
        yield _Counted(total=total, what=what)


class _Counted:
    """A line now and then."""

    def __init__(self, *, total: int, what: str) -> None:
        self._total, self._what = total, what
        self._done = 0
        self._said_s = time.monotonic()

    def __call__(self, more: int) -> None:
        self._done += more
        now_s = time.monotonic()
        if now_s - self._said_s >= LINE_EVERY_S and self._done < self._total:
            print(f"{self._what}: {self._done} of {self._total}", file=sys.stderr, flush=True)
            self._said_s = now_s


class TrainingProgress(Protocol):
    """Hears of every step and epoch."""

    def step(self, report: "StepReport") -> None:
        """One optimiser step is done."""

    def epoch(self, report: "EpochReport") -> None:
        """One epoch is done and scored."""


@contextmanager
def training_progress() -> Iterator[TrainingProgress]:
    """Show a training on stderr: a bar over all steps where people look, else a line an epoch."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        yield _Bar(bar)


class _Lines:
    def step(self, report: "StepReport") -> None:
        """Steps are too many for lines."""

    def epoch(self, report: "EpochReport") -> None:
        print(_epoch_line(report), file=sys.stderr, flush=True)


class _Bar:
    def __init__(self, bar: "Progress") -> None:
        self._bar = bar
        self._task = bar.add_task("training", total=None)

    def step(self, report: "StepReport") -> None:
        done = (report.epoch - 1) * report.steps + report.step
        self._bar.update(
            self._task,
            total=report.epochs * report.steps,
            completed=done,
            description=f"epoch {report.epoch}/{report.epochs}, loss {report.loss:.3f}",
        )

    def epoch(self, report: "EpochReport") -> None:
        self._bar.console.print(_epoch_line(report), highlight=False)


def _epoch_line(report: "EpochReport") -> str:
    scores = ", ".join(f"{head} {auroc:.3f}" for head, auroc in report.validation_auroc.items()) or "not scored"
    best = "  best so far" if report.is_best else ""
    return (
        f"epoch {report.epoch}: loss {report.losses['total']:.3f}, fold 9 AUROC {scores}, {report.seconds:.1f} s{best}"
    )
