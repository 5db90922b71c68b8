"""What a team does day by day: schedules and workers, the monitor, the doctor, old files, old versions."""

import sys
from pathlib import Path
from typing import Final

import click

from vizecg.cli.options import FOLDER


@click.command()
def deploy() -> None:
    """Write the deployments of prefect.yaml, their pool and the automation for dead runs into the Prefect server."""
    from vizecg.environment import enter
    from vizecg.settings import Settings

    enter(Settings())  # Prefect reads its home when it is imported
    from flows.deploy import POOL
    from flows.deploy import deploy as write_deployments

    write_deployments()
    click.echo(f"deployed; start a worker of pool {POOL}: vizecg worker")


@click.command()
@click.option("--runs-at-once", type=click.IntRange(min=1), default=1, show_default=True)
def worker(runs_at_once: int) -> None:
    """Carry out what the Prefect server schedules, until it is stopped."""
    from vizecg.environment import enter
    from vizecg.settings import Settings

    enter(Settings())
    from flows.deploy import work

    work(runs_at_once=runs_at_once)


@click.command()
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


@click.command()
@click.option("--put-back", is_flag=True, help="Let the champion's alias point where the ledger says.")
def doctor(put_back: bool) -> None:
    """Look at settings, versions, servers, champion and disk; end promotions that were cut off. Exit 0 well, 1 not."""
    from vizecg.doctor import examine_and_show

    sys.exit(examine_and_show(put_alias_back=put_back))


@click.command()
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


@click.command()
@click.argument("version")
@click.option("--to", type=FOLDER, help="Folder that is not there yet. Default: .state/workspaces/restored-VERSION.")
def restore(version: str, to: Path | None) -> None:
    """Bring back the very data and parameters that a registered VERSION was made from, checked by SHA-256."""
    from vizecg.environment import enter
    from vizecg.settings import Settings

    enter(Settings())
    from vizecg.restoring import restore_and_show

    restore_and_show(version=version, to=to)


COMMANDS: Final = (deploy, worker, monitor, doctor, gc, restore)
