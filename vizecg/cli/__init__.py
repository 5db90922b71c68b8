"""The command line, and the one place that puts library, flows and service together.

Each room holds the commands of one concern: `steps` those that dvc.yaml calls, `data` records
and pages, `training` models, `promotion` the champion, `service` its answers, `operating` a
team's platform day by day, `stack` everything at once on one machine. A command imports what
it needs when it runs, so `vizecg --help` is quick.
"""

import os
import sys
from typing import Final

import click

from vizecg.cli import data, operating, promotion, service, stack, training
from vizecg.cli.steps import STEP_HELP, step_command
from vizecg.cli.training import evaluate_images
from vizecg.errors import VizecgError

__all__ = ["STEP_HELP", "cli", "evaluate_images", "main"]

ROOMS: Final = (data, training, promotion, service, operating, stack)


class _Commands(click.Group):
    """The plain commands, and one for each step, built when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*STEP_HELP, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return step_command(cmd_name) if cmd_name in STEP_HELP else super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # One verb for two questions: how good is the model just trained, and how good is any model on our own paper?
        if args[:1] == ["evaluate"] and any(word.partition("=")[0] == "--images" for word in args):
            return "evaluate", evaluate_images, args[1:]
        return super().resolve_command(ctx, args)

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        plain = [(name, command.get_short_help_str(200)) for name, command in sorted(self.commands.items())]
        with formatter.section("Steps, as dvc.yaml calls them"):
            formatter.write_dl(list(STEP_HELP.items()))
        with formatter.section("Commands"):
            formatter.write_dl(plain)


def main() -> None:
    """Run a command; what the user can mend is one sentence and an exit code, not a traceback."""
    try:
        cli.main(prog_name="vizecg", standalone_mode=False)
    except VizecgError as error:
        click.echo(f"vizecg: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("vizecg: stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:  # `vizecg models | head`
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:  # a full disk, a folder that cannot be written, a path below a file
        if error.errno is None and error.filename is None:  # a library's own error under that name
            raise
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        click.echo(f"vizecg: {where}{error.strerror or error}", err=True)
        sys.exit(2)


@click.group(
    cls=_Commands,
    commands=[command for room in ROOMS for command in room.COMMANDS],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="vizecg")
def cli() -> None:
    """Diagnosis from the printed ECG image alone: data, training, promotion, service.

    Exit codes: 0 done, or nothing to do; 2 input or usage; 3 a gate said no;
    4 somebody else is doing it, or was first.
    """
