"""Which of the forms that we can give a caller would rather have (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence

from fastapi import Request


def preferred(request: Request, *, offered: Sequence[str]) -> str:
    """The offered media type that the request wants most; the first of them where it does not care or wants none.

    Args:
        request: whose `Accept` counts.
        offered: media types in our own order of preference.
    """
    ranges = [_range(part) for header in request.headers.getlist("accept") for part in header.split(",")]
    if not ranges:
        return offered[0]
    return max(offered, key=lambda kind: _quality(kind, ranges))


def _quality(kind: str, ranges: list[tuple[str, float]]) -> float:
    """The most exact range that covers a type decides."""
    whole = kind.partition("/")[0] + "/*"
    for exact in (kind, whole, "*/*"):
        found = [quality for wanted, quality in ranges if wanted == exact]
        if found:
            return max(found)
    return 0.0


def _range(part: str) -> tuple[str, float]:
    kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
    named = dict(parameter.partition("=")[::2] for parameter in parameters)
    try:
        return kind, float(named.get("q", "1"))
    except ValueError:
        return kind, 0.0
