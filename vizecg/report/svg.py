"""Small drawings inside a page: they take the page's colours by day and by night, and say in words what they show.

Colours are classes of the page's style sheet (`k0` … `k6`, `others`, `axis`), never written into the drawing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from vizecg.report.scored import COLOURS

_LEFT, _RIGHT, _TOP, _BOTTOM = 54.0, 12.0, 10.0, 42.0
# Points closer than this to the last one drawn are left out, which nobody sees; the last one never is.
_NEAREST: Final = 0.8
_NEAREST_OF_MANY: Final = 3.0

Place = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis, from `low` to `high`, with a tick at each of `ticks`."""

    label: str
    low: float = 0.0
    high: float = 1.0
    ticks: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0)

    def share(self, value: float) -> float:
        """Where a value stands between the ends, 0 to 1 for those within."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Room for a drawing of `width` × `height`, in units that scale with the page."""

    x: Axis
    y: Axis
    width: float = 400.0
    height: float = 360.0

    def place(self, x: float, y: float) -> Place:
        """Where on the drawing a point stands."""
        across = self.width - _LEFT - _RIGHT
        up = self.height - _TOP - _BOTTOM
        return (_LEFT + self.x.share(x) * across, self.height - _BOTTOM - self.y.share(y) * up)

    def drawn(self, *, title: str, about: str, marks: Sequence[str]) -> str:
        """The whole drawing; `title` and `about` are what a screen reader says of it."""
        return (
            f'<svg class="plot" viewBox="0 0 {self.width:g} {self.height:g}" role="img" '
            f'aria-label="{escape(f"{title}. {about}", quote=True)}"><title>{escape(title)}</title>'
            f"{self._axes()}{''.join(marks)}</svg>"
        )

    def line(self, points: Sequence[Place], *, kind: str, title: str = "") -> str:
        """A line through points; `kind` is its class of the style sheet."""
        nearest = _NEAREST_OF_MANY if kind == "others" else _NEAREST
        places = _thinned([self.place(*point) for point in points], nearest=nearest)
        path = " ".join(f"{_short(x)},{_short(y)}" for x, y in places)
        return f'<polyline class="{kind}" points="{path}">{_titled(title)}</polyline>' if places else ""

    def dots(self, points: Sequence[Place], *, kind: str, titles: Sequence[str]) -> str:
        """A dot at each point, which says its title when it is pointed at."""
        return "".join(
            f'<circle class="{kind}" cx="{_short(x)}" cy="{_short(y)}" r="3.2">{_titled(title)}</circle>'
            for (x, y), title in zip((self.place(*point) for point in points), titles, strict=True)
        )

    def rule_at_x(self, value: float, *, title: str) -> str:
        """An upright line from bottom to top."""
        return self.line([(value, self.y.low), (value, self.y.high)], kind="rule", title=title)

    def _axes(self) -> str:
        left, bottom = self.place(self.x.low, self.y.low)
        right, top = self.place(self.x.high, self.y.high)
        parts = [f'<g class="axis"><path d="M{_short(left)} {_short(top)}V{_short(bottom)}H{_short(right)}"/></g>']
        for value in self.x.ticks:
            across = self.place(value, self.y.low)[0]
            parts.append(_text(across, bottom + 15, _tick(value), anchor="middle"))
        for value in self.y.ticks:
            up = self.place(self.x.low, value)[1]
            parts.append(f'<path class="grid" d="M{_short(left)} {_short(up)}H{_short(right)}"/>')
            parts.append(_text(left - 6, up + 4, _tick(value), anchor="end"))
        middle = (top + bottom) / 2
        parts.append(_text((left + right) / 2, self.height - 6, self.x.label, anchor="middle"))
        parts.append(_text(12, middle, self.y.label, anchor="middle", turned=True))
        return "".join(parts)


def round_ticks(highest: float) -> list[float]:
    """Up to six ticks from 0 to the first at or above `highest`, at steps of 1, 2 or 5 times a power of ten."""
    rough = highest / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * (1 - 1e-9))
    return [round(at * step, 10) for at in range(math.ceil(highest / step - 1e-9) + 1)]


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Kind and name of each line, below a drawing."""
    items = "".join(
        f'<li><svg class="swatch" viewBox="0 0 18 8" aria-hidden="true"><path class="{kind}" d="M1 4H17"/></svg>'
        f"{escape(name)}</li>"
        for kind, name in entries
    )
    return f'<ul class="legend">{items}</ul>'


def interval(low: float | None, value: float, high: float | None, *, scale: Axis, title: str, rule: float) -> str:
    """A value with its interval on a strip as wide as its place, for the rows of a table."""
    span = ""
    if low is not None and high is not None:
        span = f'<path class="span" d="M{_percent(scale, low)} 5H{_percent(scale, high)}"/>'
    return (
        '<svg class="strip" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title, quote=True)}"><title>{escape(title)}</title>'
        f'<path class="rule" d="M{_percent(scale, rule)} 0V10"/>{span}'
        f'<path class="point" d="M{_percent(scale, value)} 5h.001"/></svg>'
    )


def kind_of(colour: str) -> str:
    """Class of the style sheet for a colour of `COLOURS`."""
    return f"k{COLOURS.index(colour)}" if colour in COLOURS else "others"


def _percent(scale: Axis, value: float) -> str:
    return _short(100 * min(max(scale.share(value), 0.0), 1.0))


def _thinned(places: Sequence[Place], *, nearest: float) -> list[Place]:
    kept: list[Place] = []
    for place in places:
        if not kept or max(abs(place[0] - kept[-1][0]), abs(place[1] - kept[-1][1])) >= nearest:
            kept.append(place)
    if places and kept[-1] != places[-1]:
        kept.append(places[-1])
    return kept


def _text(x: float, y: float, text: str, *, anchor: str, turned: bool = False) -> str:
    turn = f' transform="rotate(-90 {_short(x)} {_short(y)})"' if turned else ""
    return f'<text x="{_short(x)}" y="{_short(y)}" text-anchor="{anchor}"{turn}>{escape(text)}</text>'


def _titled(title: str) -> str:
    return f"<title>{escape(title)}</title>" if title else ""


def _tick(value: float) -> str:
    return f"{value:g}"


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
