"""Records and what was said about them: what every table, figure and page of an evaluation is made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Okabe and Ito's palette: told apart by colour-blind readers, and in print.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""As many as are told apart in one figure, so as many lines have a name."""
MOST_PANELS: Final = 15
OTHERS: Final = "0.85"


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """Records, scored.

    Attributes:
        codes: classes, in column order.
        labels: (records, classes), 0 or 1.
        probabilities: same shape, calibrated.
        thresholds: (classes,), on the probabilities: those that are served.
        cuts: (records, classes), those that were used on each record, where folds have their own.
        where: what was scored, in the title of every figure.
        note: said under every figure, such as that the records are simulated.
        intervals: ends of each class's AUROC, None where they are not defined; without them none is drawn.
    """

    codes: Sequence[str]
    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    note: str
    where: str = "fold 10"
    intervals: Sequence[tuple[float | None, float | None]] = ()
    cuts: NDArray[np.float64] | None = None

    @property
    def used(self) -> NDArray[np.float64]:
        """(records, classes) thresholds that were used."""
        return np.broadcast_to(self.thresholds, self.probabilities.shape) if self.cuts is None else self.cuts

    @property
    def called(self) -> NDArray[np.bool_]:
        """(records, classes) that were said to be positive."""
        return self.probabilities >= self.used

    def drawable(self) -> list[tuple[int, str]]:
        """Column and code of the classes that have positives and negatives: others have no curve."""
        positives = self.labels.sum(axis=0)
        return [(k, code) for k, code in enumerate(self.codes) if 0 < positives[k] < len(self.labels)]

    def commonest(self, columns: Sequence[int], *, most: int) -> list[int]:
        """Those of `columns` with the most positives, in column order."""
        positives = self.labels.sum(axis=0, dtype=np.int64)
        return sorted(sorted(columns, key=lambda k: -positives[k])[:most])

    def panels(self) -> list[int]:
        """Columns of the classes that get a panel of their own: the commonest, in column order."""
        return self.commonest(range(len(self.codes)), most=MOST_PANELS)

    def lines(self) -> list["Line"]:
        """A line for each drawable class; those beyond the colours are gray, without a name, and drawn first."""
        drawable = [k for k, _ in self.drawable()]
        named = self.commonest(drawable, most=len(COLOURS))
        others = [Line(column=k, code=None, colour=OTHERS) for k in drawable if k not in named]
        return [
            *others,
            *(Line(column=k, code=self.codes[k], colour=colour) for k, colour in zip(named, COLOURS, strict=False)),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How a class is drawn; without a code it is one of many."""

    column: int
    code: str | None
    colour: str

    def label(self, detail: str = "") -> str:
        """What the legend says; nothing for one of many.

        matplotlib leaves out what begins with an underscore, as `_AVB` does.
        """
        if self.code is None:
            return "_"
        return f"{' ' * self.code.startswith('_')}{self.code}{detail}"
