"""The command line, and the one place that puts library, flows and service together.

A command imports what it needs when it runs, so `vizecg --help` is quick. The
commands of the steps are made from the signature of each step's `run`: every
`Path` it takes is an option of that name.
"""

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from vizecg import steps
from vizecg.errors import VizecgError

STEP_HELP: Final = {
    "ingest": "Read the source's records into a checked record set.",
    "render": "Draw each record as ECG pages and take them in.",
    "validate": "Hold records and pages against what must be true of them.",
    "train": "Train VizECGNet with the signal beside the image.",
    "evaluate": "Calibrate on fold 9, score on fold 10; with --images, measure a bundle on your own pages.",
    "register": "Make the bundle and register it in MLflow.",
}
FILE = click.Path(path_type=Path, dir_okay=False)
OVERRIDE_HELP: Final = "Change a parameter first; text with special characters goes in double quotes."
FOLDER = click.Path(path_type=Path, file_okay=False)
STACK_PORTS: Final = ("postgres", "s3", "mlflow", "prefect", "service")


class _Commands(click.Group):
    """The plain commands below, and one for each step, built when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*steps.NAMES, *(name for name in super().list_commands(ctx))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _step_command(cmd_name) if cmd_name in steps.NAMES else super().get_command(ctx, cmd_name)

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


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vizecg")
def cli() -> None:
    """Diagnosis from the printed ECG image alone: data, training, promotion, service.

    Exit codes: 0 done, or nothing to do; 2 input or usage; 3 a gate said no;
    4 somebody else is doing it, or was first.
    """


def _step_command(name: str) -> click.Command:
    def callback(**paths: Path) -> None:
        from vizecg.config import PARAMS_FILE, read_params
        from vizecg.process import die_with_parent

        die_with_parent()
        params = read_params(PARAMS_FILE, models=steps.params_models())[name]
        _run_of(name)(params, **paths)

    class Lazy(click.Command):
        """Its options come from the step's signature, which is read when the command is used."""

        def get_params(self, ctx: click.Context) -> list[click.Parameter]:
            paths = [parameter for parameter in inspect.signature(_run_of(name)).parameters if parameter != "params"]
            options: list[click.Parameter] = [
                click.Option(
                    [f"--{path.replace('_', '-')}"], type=click.Path(path_type=Path), required=True, expose_value=True
                )
                for path in paths
            ]
            return [*options, *super().get_params(ctx)]

    return Lazy(
        name, callback=callback, help=f"{STEP_HELP[name]}\n\nNumbers come from section `{name}` of params.yaml."
    )


def _run_of(name: str) -> Callable[..., None]:
    run: Callable[..., None] = steps.step(name).run
    return run


@cli.group()
def source() -> None:
    """Where the records come from."""


@source.command("pin")
@click.option("--to", "pin_file", type=FILE, default=Path("data/source.json"), show_default=True)
@click.option("--set", "overrides", multiple=True, metavar="SECTION.NAME=VALUE", help=OVERRIDE_HELP)
def source_pin(pin_file: Path, overrides: tuple[str, ...]) -> None:
    """Write down what `ingest.source` holds now, so that DVC sees when it changes."""
    from vizecg.config import PARAMS_FILE, override, read_params
    from vizecg.sources import write_pin
    from vizecg.steps.ingest import Params

    if overrides:
        override(PARAMS_FILE, overrides, models=steps.params_models())
    params = read_params(PARAMS_FILE, models=steps.params_models())["ingest"]
    assert isinstance(params, Params)  # noqa: S101 (params_models says so)
    for pinned in write_pin(pin_file, params):
        click.echo(f"{pin_file}: {pinned.objects} objects of {pinned.uri}, digest {pinned.digest[:12]}")


@cli.group()
def baseline() -> None:
    """The data that new data is compared with."""


BASELINE_FILE: Final = Path("data/baseline.json")


@baseline.command("accept")
@click.option("--profile", type=FILE, default=Path("reports/validation/profile.json"), show_default=True)
@click.option("--to", "baseline_file", type=FILE, default=BASELINE_FILE, show_default=True)
def baseline_accept(profile: Path, baseline_file: Path) -> None:
    """Compare from now on with the data that was validated last."""
    from vizecg.validation.baseline import read_profile, write_baseline

    accepted = read_profile(profile)
    write_baseline(baseline_file, accepted)
    click.echo(f"{baseline_file}: {accepted['records']} records of {accepted['source']}, task {accepted['task']}")


@baseline.command("clear")
@click.option("--to", "baseline_file", type=FILE, default=BASELINE_FILE, show_default=True)
def baseline_clear(baseline_file: Path) -> None:
    """Compare with nothing."""
    from vizecg.validation.baseline import write_baseline

    write_baseline(baseline_file, None)
    click.echo(f"{baseline_file}: nothing is accepted")


@cli.command()
@click.argument("out", type=FOLDER)
@click.option("--records", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True)
def simulate(out: Path, records: int, seed: int) -> None:
    """Write simulated records in PTB-XL's layout. They have no medical meaning."""
    from vizecg.simulate import write_database

    write_database(out, records=records, seed=seed)
    click.echo(f"{out}: {records} simulated records (seed {seed}); they have no medical meaning")


@cli.command()
@click.argument("record", type=click.Path(path_type=Path))
@click.argument("out", type=FILE)
@click.option(
    "--style", default="standard", show_default=True, help="A style of docs/styles.md, or drawn: any of them."
)
@click.option("--dpi", type=click.FloatRange(min=30, max=600), default=200, show_default=True)
@click.option("--text", is_flag=True, help="Print made-up text around the chart; it says nothing about the record.")
@click.option("--photo", is_flag=True, help="Take a picture of the page on a table.")
@click.option("--preset", help="Take another picture: scan, fax, photo, screen, worst.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all that is left to chance.")
def page(
    record: Path, out: Path, style: str, dpi: float, text: bool, photo: bool, preset: str | None, seed: int
) -> None:
    """Draw a 12-lead WFDB RECORD (its path, with or without .hea) as OUT, a PNG, JPEG or PDF.

    The page has its paper's true size: printed at 100 %, 1 mV is as tall and 1 s as
    long as its style says, 10 mm and 25 mm for the standard.
    """
    from vizecg.printing import Printing, draw_record

    chosen = preset or ("photo" if photo else None)
    draw_record(record, out, printing=Printing(style=style, dots_per_inch=dpi, text=text, preset=chosen, seed=seed))
    click.echo(out)


@cli.command()
@click.argument("out", type=FOLDER)
@click.option("--presets", is_flag=True, help="Also write presets/: each style through each camera, before and after.")
@click.option("--record", type=click.Path(path_type=Path), help="Show this 12-lead WFDB record, not a simulated one.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of made-up text and cameras.")
def gallery(out: Path, presets: bool, record: Path | None, seed: int) -> None:
    """Write OUT/styles.md and OUT/gallery/, which show every page style.

    `vizecg gallery docs` makes what the documentation holds. Sheets of your own records are
    pictures of patients' pages: write them where those may be.
    """
    from vizecg.gallery import example_of, simulated_example, write_sheets, write_styles

    example = simulated_example() if record is None else example_of(record)
    for path in write_styles(out, example=example, seed=seed):
        click.echo(path)
    for path in write_sheets(out, example=example, seed=seed) if presets else ():
        click.echo(path)


@cli.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--bundle", type=FOLDER, help="Use this bundle folder, not the champion.")
@click.option("--url", help="Ask a running service.")
@click.option("--key-file", type=FILE, help="Holds the API key for --url, and nothing else.")
def predict(images: tuple[Path, ...], bundle: Path | None, url: str | None, key_file: Path | None) -> None:
    """Print one JSON line for each image: the answer, or why there is none."""
    from vizecg.predicting import predict_files
    from vizecg.settings import Settings

    sys.exit(predict_files(images, settings=Settings(), bundle=bundle, url=url, key_file=key_file))


@click.command("evaluate")
@click.option("--images", type=click.Path(path_type=Path, file_okay=False, exists=True), required=True)
@click.option("--labels", type=FILE, help="Default: labels.csv in the folder of images.")
@click.option("--label-map", type=FILE, help="Default: label_map.csv beside the images, if there is one.")
@click.option("--bundle", type=FOLDER, required=True, help="The model to measure.")
@click.option("--out", type=FOLDER, default=Path("reports/external"), show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
def evaluate_images(
    images: Path, labels: Path | None, label_map: Path | None, bundle: Path, out: Path, threads: int
) -> None:
    """Measure a bundle on a folder of page images with a table of labels: an external validation."""
    from vizecg.external import evaluate_images as evaluate
    from vizecg.paper import LABELS_NAME

    table = labels or images / LABELS_NAME
    found = evaluate(images, labels=table, label_map=label_map, bundle=bundle, out=out, threads=threads)
    pages, macro = found["pages"], found["macro"]
    said = "not defined" if macro["auroc"] is None else f"{macro['auroc']:.3f}"
    between = "" if macro["auroc_low"] is None else f" ({macro['auroc_low']:.3f} to {macro['auroc_high']:.3f})"
    click.echo(
        f"evaluate: {pages['listed']} pages, {pages['reject']} rejected, {pages['unreadable']} unreadable; "
        f"macro AUROC {said}{between} on {found['records']} pages; read {out / 'index.html'}"
    )


@cli.command()
@click.option("--host", help="Default: 127.0.0.1.")
@click.option("--port", type=click.IntRange(1, 65535), help="Default: 8000, or the next free one.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that answer on the port. Default: 1.")
def serve(host: str | None, port: int | None, workers: int | None) -> None:
    """Answer over HTTP with the champion, and follow its promotions."""
    from serving import main as serve_main

    serve_main(host=host, port=port, workers=workers)


KEYS_FILE = click.option(
    "--file",
    "keys_file",
    type=FILE,
    envvar="VIZECG_API_KEYS_FILE",
    show_envvar=True,
    required=True,
    help="Where digests of keys are kept.",
)


@cli.group()
def keys() -> None:
    """API keys of the service: who may ask for what."""


@keys.command("new")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(["predict", "feedback", "admin"]))
@click.option("--id", "key_id", help="Its name in logs and audit lines; nobody's name. Default: by chance.")
@click.option("--days", type=click.IntRange(min=1), help="How long it stands. Default: until it is revoked.")
@KEYS_FILE
def keys_new(scopes: tuple[str, ...], key_id: str | None, days: int | None, keys_file: Path) -> None:
    """Make a key, keep its digest and print the key, once: it is kept nowhere."""
    from datetime import UTC, datetime, timedelta

    from vizecg.keys import Scope, issue

    now = datetime.now(UTC)
    expires = None if days is None else now + timedelta(days=days)
    issued = issue(keys_file, scopes=[Scope(scope) for scope in scopes], now=now, key_id=key_id, expires=expires)
    click.echo(f"key {issued.id} for {', '.join(scopes)}; write it down now, it is not shown again:", err=True)
    click.echo(issued.secret)


@keys.command("list")
@KEYS_FILE
def keys_list(keys_file: Path) -> None:
    """Show every key's id, scopes and state; never the key."""
    from datetime import UTC, datetime

    from vizecg.keys import read

    for key in read(keys_file).keys:
        until = f", until {key.expires:%Y-%m-%d}" if key.expires else ""
        scopes = ",".join(key.scopes)
        click.echo(f"{key.id}  {key.state(datetime.now(UTC))}  {scopes}  made {key.created:%Y-%m-%d}{until}")


@keys.command("revoke")
@click.argument("key_id")
@KEYS_FILE
def keys_revoke(key_id: str, keys_file: Path) -> None:
    """Let a key open nothing from now on; running services notice by themselves."""
    from datetime import UTC, datetime

    from vizecg.keys import revoke

    revoke(keys_file, key_id, now=datetime.now(UTC))
    click.echo(f"{keys_file}: key {key_id} is revoked")


@cli.group()
def audit() -> None:
    """The trail of answers that a service leaves."""


@audit.command("verify")
@click.argument("folder", type=FOLDER)
@click.option("--holds", multiple=True, metavar="DIGEST", help="Of a line noted earlier, that must still be there.")
def audit_verify(folder: Path, holds: tuple[str, ...]) -> None:
    """Check that no line was changed, moved or taken out; exit 3 names the first that was."""
    from vizecg.auditing import show_verified

    show_verified(folder, holds=holds)


@audit.command("replay")
@click.argument("folder", type=FOLDER)
@click.option("--images", type=click.Path(path_type=Path, file_okay=False, exists=True), required=True)
@click.option("--bundle", type=FOLDER, required=True, help="The model that answered.")
@click.option("--tolerance", type=click.FloatRange(min=0), help="Of a probability. Default: as the bundle's goldens.")
def audit_replay(folder: Path, images: Path, bundle: Path, tolerance: float | None) -> None:
    """Answer again what the trail holds, its inputs found by SHA-256; exit 3 when an answer differs."""
    from vizecg.auditing import show_replayed

    sys.exit(show_replayed(folder, images=images, bundle_folder=bundle, tolerance=tolerance))


@cli.command()
@click.option("--version", default="newest", show_default=True, help="Version of the registered model.")
@click.option("--records", type=FOLDER, default=Path("data/records"), show_default=True)
@click.option("--pages", type=FOLDER, default=Path("data/pages"), show_default=True)
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


@cli.command()
@click.argument("version")
@click.option("--reason", required=True, help="Kept in the ledger.")
def approve(version: str, reason: str) -> None:
    """Make VERSION the champion, which the gates have let through (`promote.approval`)."""
    from vizecg import promoting

    promoting.approve_and_show(version=version, reason=reason)


@cli.command()
@click.option("--reason", required=True, help="Kept in the ledger.")
def rollback(reason: str) -> None:
    """Make the previous champion the champion again."""
    from vizecg import promoting

    promoting.rollback_and_show(reason=reason)


@cli.group(invoke_without_command=True)
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


@cli.command()
@click.option("--set", "overrides", multiple=True, metavar="SECTION.NAME=VALUE", help=OVERRIDE_HELP)
@click.option("--no-promote", is_flag=True, help="Stop after registering.")
@click.option("--stage", "stages", multiple=True, help="Only this stage; may be given again. Default: all.")
def retrain(overrides: tuple[str, ...], no_promote: bool, stages: tuple[str, ...]) -> None:
    """Run the pipeline as a Prefect flow in this folder: what has not changed is skipped."""
    from vizecg.environment import enter
    from vizecg.settings import Settings

    enter(Settings())  # Prefect reads its home when it is imported
    from flows.retrain import retrain_here

    sys.exit(retrain_here(overrides=overrides, promote=not no_promote, stages=stages))


@cli.command()
@click.option("--days", type=click.IntRange(min=1), default=30, show_default=True, help="What was written since stays.")
@click.option(
    "--audit-days", type=click.IntRange(min=1), help="Let audit trails go that end before. Default: all stay."
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def gc(days: int, audit_days: int | None, dry_run: bool) -> None:
    """Remove what the state folder keeps and nothing needs: failed runs, copies of bundles, what was never finished.

    What an alias, the ledger or a service names stays, and so does what somebody is at work with.
    """
    from vizecg.environment import enter
    from vizecg.monitoring import MonitorSettings

    settings = MonitorSettings()
    enter(settings)
    from vizecg.collecting import collect_and_show

    collect_and_show(settings, audit=settings.audit_folder, days=days, audit_days=audit_days, dry_run=dry_run)


@cli.command()
@click.argument("version")
@click.option("--to", type=FOLDER, help="Folder that is not there yet. Default: .state/workspaces/restored-VERSION.")
def restore(version: str, to: Path | None) -> None:
    """Bring back the very data and parameters that a registered VERSION was made from, checked by SHA-256."""
    from vizecg.environment import enter
    from vizecg.settings import Settings

    enter(Settings())
    from vizecg.restoring import restore_and_show

    restore_and_show(version=version, to=to)


@cli.command()
@click.option("--put-back", is_flag=True, help="Let the champion's alias point where the ledger says.")
def doctor(put_back: bool) -> None:
    """Look at settings, versions, servers, champion and disk; end promotions that were cut off. Exit 0 well, 1 not."""
    from vizecg.doctor import examine_and_show

    sys.exit(examine_and_show(put_alias_back=put_back))


@cli.command()
@click.option("--bundle", type=FOLDER, help="Watch the answers of this bundle, not the champion's.")
@click.option("--out", type=FOLDER, default=Path("reports/monitor"), show_default=True)
@click.option("--put-back", is_flag=True, help="Let the champion's alias point where the ledger says.")
@click.option("--no-data", is_flag=True, help="Do not look whether the source holds other data than it did.")
@click.option("--accept", is_flag=True, help="Hold later pictures against those of this window; look at nothing.")
@click.option("--flow", is_flag=True, help="As a Prefect flow in this folder, with events.")
def monitor(bundle: Path | None, out: Path, put_back: bool, no_data: bool, accept: bool, flow: bool) -> None:
    """Hold what the service was sent against what the evaluation saw. Exit 0 well, 3 somebody should look.

    Numbers come from section `monitor` of params.yaml.
    """
    from vizecg.environment import enter
    from vizecg.settings import Settings

    if flow and (bundle is not None or accept):
        raise click.UsageError("--flow watches the champion; --bundle and --accept are for the command alone")
    enter(Settings())  # Prefect reads its home when it is imported
    if flow:
        from flows.monitor import monitor_here

        sys.exit(monitor_here(put_alias_back=put_back, look_for_data=not no_data))
    from vizecg.monitoring import watch

    if accept:
        watch.accept_and_show(bundle=bundle)
        return
    sys.exit(watch.monitor_and_show(bundle=bundle, out=out, put_alias_back=put_back, look_for_data=not no_data))


@cli.command()
def deploy() -> None:
    """Write the deployments of prefect.yaml, their pool and the automation for dead runs into the Prefect server."""
    from vizecg.environment import enter
    from vizecg.settings import Settings

    enter(Settings())  # Prefect reads its home when it is imported
    from flows.deploy import POOL
    from flows.deploy import deploy as write_deployments

    write_deployments()
    click.echo(f"deployed; start a worker of pool {POOL}: vizecg worker")


@cli.command()
@click.option("--runs-at-once", type=click.IntRange(min=1), default=1, show_default=True)
def worker(runs_at_once: int) -> None:
    """Carry out what the Prefect server schedules, until it is stopped."""
    from vizecg.environment import enter
    from vizecg.settings import Settings

    enter(Settings())
    from flows.deploy import work

    work(runs_at_once=runs_at_once)


@cli.command()
@click.option(
    "--contender", "contenders", multiple=True, help="One of section compare; may be given again. Default: all."
)
@click.option("--records", type=FOLDER, default=Path("data/records"), show_default=True)
@click.option("--pages", type=FOLDER, default=Path("data/pages"), show_default=True)
@click.option("--out", type=FOLDER, default=Path("reports/comparison"), show_default=True)
@click.option("--flow", is_flag=True, help="As a Prefect flow in this folder, a task for every contender.")
@click.option("--train-only", is_flag=True, help="Train and keep the answers; compare nothing yet.")
def compare(contenders: tuple[str, ...], records: Path, pages: Path, out: Path, flow: bool, train_only: bool) -> None:
    """Train VizECGNet and its rivals out of fold, and hold them against each other.

    Numbers come from section `compare` of params.yaml. What was trained is kept beside OUT,
    so a comparison that was cut off goes on where it was.
    """
    from vizecg.environment import enter
    from vizecg.settings import Settings

    if flow:
        enter(Settings())  # Prefect reads its home when it is imported
        from flows.compare import compare_here

        sys.exit(compare_here(contenders=contenders))
    from vizecg.comparison_files import compare_and_write

    compare_and_write(contenders, records=records, pages=pages, out=out, train_only=train_only)


@cli.group()
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


@cli.command()
@click.argument("out", type=FILE)
@click.option("--records", type=click.IntRange(10, 99_999), default=3000, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=11, show_default=True)
@click.option("--copies", type=click.IntRange(1, 16), default=2, show_default=True, help="Pages of each record.")
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True)
def pretrain(out: Path, records: int, seed: int, copies: int, epochs: int) -> None:
    """Write first weights, learned from simulated records, into OUT: those of params.yaml's network."""
    from vizecg.first_weights import pretrain_and_write
    from vizecg.process import die_with_parent
    from vizecg.recipe import PretrainingParams

    die_with_parent()
    pretrain_and_write(out, PretrainingParams(records=records, seed=seed, copies=copies, epochs=epochs))


@cli.command("recipe")
@click.argument("recipe", metavar="FILE", type=FILE)
@click.option(
    "--data",
    default="simulated",
    show_default=True,
    help="Or physionet, an https:// or s3:// address, a folder or an archive.",
)
def run_recipe_file(recipe: Path, data: str) -> None:
    """Run a FILE of recipes/: parameters other than those of params.yaml, in a clone."""
    from vizecg.recipe_runs import run_recipe

    sys.exit(run_recipe(recipe, data=data))


@cli.command()
@click.option(
    "--data", help="physionet, an https:// or s3:// address, a folder or an archive. Default: simulated records."
)
@click.option("--exit", "leave", is_flag=True, help="Stop everything after the first answer.")
def demo(data: str | None, leave: bool) -> None:
    """Run the whole job with its servers, then serve until Ctrl-C."""
    from vizecg.demo import run_demo

    sys.exit(run_demo(data=data or None, leave=leave))
