"""What `vizecg promote`, `rollback` and `models` do and print."""

import getpass
import sys
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console

from vizecg import promotion, steps
from vizecg.config import PARAMS_FILE, read_params
from vizecg.gates import Params
from vizecg.patience import patiently
from vizecg.promotion import tables
from vizecg.promotion.moves import Outcome
from vizecg.promotion.versions import list_versions
from vizecg.settings import CHALLENGER, MODEL_NAME, Settings

_WIDTH_OF_FILES: Final = 140
_LONGEST_NAME: Final = 150  # beside the account's; the ledger takes 255


def promote_and_show(*, version: str, records: Path, pages: Path, reason: str, override: bool = False) -> int:
    """Promote through the gates and print their table; returns the exit code."""
    params = read_params(PARAMS_FILE, models=steps.params_models())["promote"]
    assert isinstance(params, Params)  # noqa: S101 (params_models says so)
    gather = partial(
        promotion.gather_evidence,
        records=records,
        pages=pages,
        cameras=params.cameras,
        camera_records=params.camera_records,
        seed=params.seed,
        serve=True,
    )
    settings = Settings()
    outcome = patiently(
        lambda: promotion.promote(
            settings,
            version=version,
            gather=gather,
            params=params,
            actor=actor(),
            reason=reason,
            override=override,
        ),
        patience_s=settings.patience_s,
        say=print,
    )
    show_outcome(outcome)
    return outcome.exit_code


def rollback_and_show(*, reason: str) -> None:
    """Go back to the champion before this one."""
    show_outcome(promotion.rollback(Settings(), actor=actor(), reason=reason))


def approve_and_show(*, version: str, reason: str) -> None:
    """Make the version the champion that waits for it."""
    show_outcome(promotion.approve(Settings(), version=version, actor=actor(), reason=reason))


def nominate_and_show(version: str) -> None:
    """Set the alias `challenger`."""
    pinned = promotion.nominate(Settings(), version=version)
    print(f"{MODEL_NAME} version {pinned.version} is {CHALLENGER} now")


def show_versions() -> None:
    """Print what is registered."""
    versions = list_versions(Settings())
    console = _console()
    console.print(tables.versions_table(versions) if versions else f"No version of {MODEL_NAME} is registered yet.")


def show_history() -> None:
    """Print the ledger."""
    entries = promotion.history(Settings())
    _console().print(tables.history_table(entries) if entries else "The ledger is empty: nothing was promoted yet.")


def show_outcome(outcome: Outcome) -> None:
    """Print verdict, notes, and what it came to."""
    console = _console()
    if outcome.verdict is not None and outcome.verdict.rows:
        console.print(tables.verdict_table(outcome.verdict))
    for note in outcome.notes:
        console.print(f"Note: {note}", soft_wrap=True)
    console.print(outcome.sentence, style="bold", soft_wrap=True)


def actor() -> str:
    """Who is doing this, for the ledger: the name of the account, behind whoever `VIZECG_ACTOR` says it is done for."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry
        account = "unknown"
    asks = " ".join(Settings().actor.split())[:_LONGEST_NAME]
    return f"{asks} (through {account})" if asks not in ("", account) else account


def _console() -> Console:
    # A file or pipe has no width; folded to 80 columns the table cannot be searched.
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
