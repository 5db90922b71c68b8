"""When a version that failed is tried again: ever more rarely, for its download may have been cut off."""

import time
from dataclasses import dataclass
from typing import Final

from vizecg.registry import PinnedVersion

# The limit is reached long before; without an end the pause would, after a thousand failures, be no number.
_MOST_DOUBLINGS: Final = 32


@dataclass(slots=True)
class _Failed:
    pinned: PinnedVersion
    times: int
    not_before_s: float


class BackOff:
    """Remembers the one version that failed last; any other may be tried at once.

    Args:
        first_s: half of the first pause; each next one is twice as long.
        limit_s: the longest pause.
    """

    def __init__(self, *, first_s: float, limit_s: float) -> None:
        self._first_s, self._limit_s = first_s, limit_s
        self._last: _Failed | None = None

    def holds(self, pinned: PinnedVersion) -> bool:
        """Whether it failed, and its pause goes on."""
        last = self._last
        return last is not None and last.pinned == pinned and time.monotonic() < last.not_before_s

    def failed(self, pinned: PinnedVersion) -> None:
        """Put it off."""
        known = self._last is not None and self._last.pinned == pinned
        times = self._last.times + 1 if self._last is not None and known else 1
        pause_s = min(self._first_s * 2.0 ** min(times, _MOST_DOUBLINGS), self._limit_s)
        self._last = _Failed(pinned=pinned, times=times, not_before_s=time.monotonic() + pause_s)

    def forget(self) -> None:
        """It went well."""
        self._last = None
