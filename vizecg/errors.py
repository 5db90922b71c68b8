"""What can go wrong in a way the user can mend, and the exit code each kind has.

The command line prints the sentence of such an error and nothing else; anything
else that is raised is a fault of ours and keeps its traceback.
"""

from typing import ClassVar


class VizecgError(Exception):
    """One sentence: what, where, got, allowed, where to mend."""

    exit_code: ClassVar[int] = 2


class InputError(VizecgError):
    """Something we were given cannot be used: a file, a record, a parameter, an address."""

    exit_code = 2


class Unavailable(InputError):
    """A server does not answer now; the same question may be answered later."""


class GateRefused(VizecgError):
    """Everything worked and the answer is no: a gate, a hard expectation."""

    exit_code = 3


class Conflict(VizecgError):
    """Somebody else is doing this now, or was first."""

    exit_code = 4
