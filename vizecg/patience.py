"""Asking again: for a server that is being restarted while a run of hours needs it for a second.

Only what can be done twice without harm is asked again, and only when nobody answered:
a wrong password, a version that is not there and a gate's no stay what they are.
"""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from vizecg.errors import Unavailable

Result = TypeVar("Result")

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 15.0


def patiently(
    ask: Callable[[], Result],
    *,
    patience_s: float,
    say: Callable[[str], object],
    wait: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """Ask until there is an answer.

    Args:
        ask: may be called again after it raised `Unavailable`.
        patience_s: no new attempt is begun later than this after the first; 0 asks once.
        say: hears in one line why it waits.
        wait: until the next attempt; for tests.
        clock: seconds; for tests.

    Returns:
        What `ask` returned.

    Raises:
        Unavailable: that of the last attempt.
    """
    deadline_s = clock() + patience_s
    pause_s = FIRST_WAIT_S
    while True:
        try:
            return ask()
        except Unavailable as error:
            if clock() + pause_s > deadline_s:
                raise
            say(f"{error}; asking again in {pause_s:.0f} s")
        wait(pause_s)
        pause_s = min(2 * pause_s, LONGEST_WAIT_S)
