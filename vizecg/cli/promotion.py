"""Who is champion: the gates, the person who approves, the way back, the ledger."""

import sys
from pathlib import Path
from typing import Final

import click

from vizecg.cli.options import PAGES, RECORDS


@click.command()
@click.option("--version", default="newest", show_default=True, help="Version of the registered model.")
@RECORDS
@PAGES
@click.option("--reason", default="", help="Kept in the ledger.")
@click.option("--override", is_flag=True, help="Make it the champion against the gates; needs --reason.")
def promote(version: str, records: Path, pages: Path, reason: str, override: bool) -> None:
    """Hold a version against the champion, and make it the champion if every gate agrees.

    No override makes a champion of a model that answers other classes, was trained on simulated
    records where the champion was on real ones, or cannot be served.
    """
    from vizecg import promoting

    sys.exit(
        promoting.promote_and_show(version=version, records=records, pages=pages, reason=reason, override=override)
    )


@click.command()
@click.argument("version")
@click.option("--reason", required=True, help="Kept in the ledger.")
def approve(version: str, reason: str) -> None:
    """Make VERSION the champion, which the gates have let through (`promote.approval`)."""
    from vizecg import promoting

    promoting.approve_and_show(version=version, reason=reason)


@click.command()
@click.option("--reason", required=True, help="Kept in the ledger.")
def rollback(reason: str) -> None:
    """Make the previous champion the champion again."""
    from vizecg import promoting

    promoting.rollback_and_show(reason=reason)


@click.group(invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """List the registered versions."""
    if context.invoked_subcommand is None:
        from vizecg import promoting

        promoting.show_versions()


@models.command()
@click.argument("version")
def nominate(version: str) -> None:
    """Make VERSION the challenger."""
    from vizecg import promoting

    promoting.nominate_and_show(version)


@models.command()
def history() -> None:
    """Show the ledger: who made what the champion, when and why."""
    from vizecg import promoting

    promoting.show_history()


COMMANDS: Final = (promote, approve, rollback, models)
