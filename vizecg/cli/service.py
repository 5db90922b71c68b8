"""The service and its answers: who may ask, what is answered, the trail that answers leave."""

import sys
from pathlib import Path
from typing import Final

import click

from vizecg.cli.options import FILE, FOLDER

KEYS_FILE: Final = click.option(
    "--file",
    "keys_file",
    type=FILE,
    envvar="VIZECG_API_KEYS_FILE",
    show_envvar=True,
    required=True,
    help="Where digests of keys are kept.",
)


@click.command()
@click.option("--host", help="Default: 127.0.0.1.")
@click.option("--port", type=click.IntRange(1, 65535), help="Default: 8000, or the next free one.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that answer on the port. Default: 1.")
def serve(host: str | None, port: int | None, workers: int | None) -> None:
    """Answer over HTTP with the champion, and follow its promotions."""
    from serving import main as serve_main

    serve_main(host=host, port=port, workers=workers)


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--bundle", type=FOLDER, help="Use this bundle folder, not the champion.")
@click.option("--url", help="Ask a running service.")
@click.option("--key-file", type=FILE, help="Holds the API key for --url, and nothing else.")
def predict(images: tuple[Path, ...], bundle: Path | None, url: str | None, key_file: Path | None) -> None:
    """Print one JSON line for each image: the answer, or why there is none."""
    from vizecg.predicting import predict_files
    from vizecg.settings import Settings

    sys.exit(predict_files(images, settings=Settings(), bundle=bundle, url=url, key_file=key_file))


@click.group()
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


@click.group()
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


COMMANDS: Final = (serve, predict, keys, audit)
