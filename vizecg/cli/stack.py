"""Everything at once on this machine: the demo, and a team's whole platform without containers."""

import sys
from pathlib import Path
from typing import Final

import click

from vizecg.cli.options import FOLDER

STACK_PORTS: Final = ("postgres", "s3", "mlflow", "prefect", "service")


@click.command()
@click.option(
    "--data", help="physionet, an https:// or s3:// address, a folder or an archive. Default: simulated records."
)
@click.option("--exit", "leave", is_flag=True, help="Stop everything after the first answer.")
def demo(data: str | None, leave: bool) -> None:
    """Run the whole job with its servers, then serve until Ctrl-C."""
    from vizecg.demo import run_demo

    sys.exit(run_demo(data=data or None, leave=leave))


@click.group()
def stack() -> None:
    """A team's whole platform on this machine without containers: PostgreSQL, S3, MLflow, Prefect, worker, service."""


def _ports(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, int]:
    ports = {}
    for one in given:
        part, _equals, number = one.partition("=")
        if part not in STACK_PORTS or not number.isdecimal() or not 0 < int(number) < 65536:
            raise click.BadParameter(f"{one!r} is not PART=NUMBER with PART one of {', '.join(STACK_PORTS)}")
        ports[part] = int(number)
    return ports


@stack.command("up")
@click.option(
    "--port",
    "ports",
    multiple=True,
    metavar="PART=NUMBER",
    callback=_ports,
    help="Default: 5432, 8333, 5000, 4200, 8000, or the next free one.",
)
@click.option("--restore", "backup", type=FOLDER, help="Begin a new stack with this backup.")
def stack_up(ports: dict[str, int], backup: Path | None) -> None:
    """Start everything, and keep it up until Ctrl-C."""
    from vizecg.stack import run_stack

    sys.exit(run_stack(ports=ports, backup=backup))


@stack.command("backup")
@click.argument("out", type=FOLDER)
def stack_backup(out: Path) -> None:
    """Copy the databases and the store of the running stack into OUT. It holds what the store holds: patients' data."""
    from vizecg.stack import back_up

    count = back_up(out)
    click.echo(f"{out}: the databases ledger, mlflow and prefect, and {count} objects of the store")


@stack.command("status")
def stack_status() -> None:
    """Show every part's address and state; exit 0 when all answer, else 1."""
    from vizecg.stack import show_status

    sys.exit(show_status())


@stack.command("restart")
@click.argument("part")
@click.option("--away", "away_s", type=click.FloatRange(0, 3600), default=0.0, show_default=True, help="Seconds.")
def stack_restart(part: str, away_s: float) -> None:
    """Stop PART of the running stack, and start it again."""
    from vizecg.stack import restart

    restart(part, away_s=away_s)
    click.echo(f"{part} is up again")


@stack.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def stack_run(command: tuple[str, ...]) -> None:
    """Run COMMAND with the stack's addresses and passwords in its environment."""
    from vizecg.stack import run_in_stack

    run_in_stack(command)


COMMANDS: Final = (demo, stack)
