"""`vizecg doctor`: is everything well here, and what to do where it is not, in plain words."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import httpx

from vizecg import tracking
from vizecg.environment import enter
from vizecg.errors import VizecgError
from vizecg.promotion import Ledger, being_moved, finish_interrupted, look_at_champion, waiting
from vizecg.settings import Settings, repository_root, shown

# A training of all of PTB-XL with two copies of each page writes about this much.
ENOUGH_FREE_GB: Final = 5.0
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "MLFLOW_S3_ENDPOINT_URL")
_PINNED: Final = re.compile(r"^([\w.\-]+)==(\S+)$", flags=re.MULTILINE)
_TIMEOUT_S: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one look found; `said` is a sentence that holds what to do where it is not well."""

    about: str
    well: bool
    said: str


def examine(settings: Settings, *, put_alias_back: bool = False) -> Iterator[Finding]:
    """Look at everything, one thing after another; a promotion whose process died is ended on the way.

    Args:
        settings: which registry, which ledger, which state folder.
        put_alias_back: whether the champion's alias is moved to where the ledger says.
    """
    yield from _settings(settings)
    yield _versions(repository_root() / "constraints.txt")
    yield _disk(settings.state_dir)
    if (store := next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)) is not None:
        yield _store(store)
    if api := os.environ.get("PREFECT_API_URL"):
        yield _prefect(api.rstrip("/"))
    reached = [_asked("MLflow", lambda: _mlflow(settings)), _asked("ledger", lambda: _ledger(settings))]
    yield from reached
    if all(finding.well for finding in reached):
        yield _asked("promotions", lambda: _promotions(settings))
        yield _asked("champion", lambda: _champion(settings, put_alias_back=put_alias_back))


def examine_and_show(*, put_alias_back: bool) -> int:
    """Print what was found; returns the exit code, 0 when all is well, else 1."""
    ill = 0
    for finding in _everything(put_alias_back=put_alias_back):
        print(f"{'ok ' if finding.well else 'BAD'}  {finding.about}: {finding.said}", flush=True)
        ill += not finding.well
    print("all is well" if not ill else f"{ill} {'thing is' if ill == 1 else 'things are'} not well")
    return 1 if ill else 0


def _everything(*, put_alias_back: bool) -> Iterator[Finding]:
    try:
        settings = Settings()
    except VizecgError as error:  # what else is to be looked at, the settings would say
        yield Finding(about="settings", well=False, said=str(error))
        return
    enter(settings)
    yield from examine(settings, put_alias_back=put_alias_back)


def _asked(about: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except VizecgError as error:
        return Finding(about=about, well=False, said=str(error))


def _settings(settings: Settings) -> Iterator[Finding]:
    said = f"state in {settings.state_dir}, MLflow {shown(settings.tracking_uri)}, ledger {shown(settings.ledger_url)}"
    yield Finding(about="settings", well=True, said=said)
    if settings.tracking_uri.startswith(("http://", "https://")) and settings.ledger_url.startswith("sqlite"):
        yield Finding(
            about="settings",
            well=True,
            said="the ledger is a file of this machine while MLflow is a server: where several machines promote, "
            "set VIZECG_LEDGER_URL to a database that all of them reach",
        )


def _versions(constraints: Path) -> Finding:
    if not constraints.is_file():
        return Finding(about="versions", well=True, said=f"not compared: {constraints} is not there")
    pinned = dict(_PINNED.findall(constraints.read_text(encoding="utf-8")))
    installed = {name: version for name in pinned if (version := _installed(name)) is not None}
    # A wheel of torch for a GPU or a CPU says so behind its version.
    other = {name: version for name, version in installed.items() if version.partition("+")[0] != pinned[name]}
    if not other:
        return Finding(about="versions", well=True, said=f"{len(installed)} packages as in constraints.txt")
    named = ", ".join(f"{name} {version} instead of {pinned[name]}" for name, version in sorted(other.items())[:5])
    return Finding(
        about="versions",
        well=False,
        said=f"{len(other)} packages are not as in constraints.txt ({named}); run `make setup`",
    )


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _disk(state: Path) -> Finding:
    there = next(folder for folder in (state, *state.parents) if folder.is_dir())
    free_gb = shutil.disk_usage(there).free / 1e9
    said = f"{free_gb:.1f} GB free at {there}"
    if free_gb < ENOUGH_FREE_GB:
        advice = "`dvc gc --workspace` forgets data of other revisions, `vizecg gc` failed runs"
        return Finding(about="disk", well=False, said=f"{said}, wanted {ENOUGH_FREE_GB:.0f}; {advice}")
    return Finding(about="disk", well=True, said=said)


def _store(endpoint: str) -> Finding:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    quickly = Config(connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"max_attempts": 1})
    where = shown(endpoint)
    try:
        boto3.Session().client(  # the default session would keep the keys of the first who asked
            "s3",
            endpoint_url=endpoint,
            config=quickly,
            region_name=os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
        ).list_buckets()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "AccessDenied":  # keys for one bucket may not list them all
            return Finding(about="store", well=True, said=f"{where} answers; these keys may not list its buckets")
        said = f"{where} refuses the keys ({code}); see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return Finding(about="store", well=False, said=said)
    except BotoCoreError as error:
        said = f"{where} cannot be used ({type(error).__name__}); start it, or set AWS_ENDPOINT_URL_S3 and its keys"
        return Finding(about="store", well=False, said=said)
    except ValueError:
        said = f"{where} is no address such as https://HOST:PORT; see {', '.join(_ENDPOINTS)}"
        return Finding(about="store", well=False, said=said)
    return Finding(about="store", well=True, said=f"{where} answers")


def _prefect(api: str) -> Finding:
    where = shown(api)
    login = os.environ.get("PREFECT_API_AUTH_STRING")
    name, _, password = (login or "").partition(":")
    try:
        # A proxy of the environment is for the world outside.
        answer = httpx.get(
            f"{api}/admin/version", auth=(name, password) if login else None, timeout=_TIMEOUT_S, trust_env=False
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = f"{where} does not answer ({type(error).__name__}); start it, or set PREFECT_API_URL to one that does"
        return Finding(about="Prefect", well=False, said=said)
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return Finding(about="Prefect", well=False, said=f"{where} refuses the login; see PREFECT_API_AUTH_STRING")
    if answer.status_code != httpx.codes.OK:
        said = f"{where} answers {answer.status_code}, which no Prefect does; PREFECT_API_URL ends in /api"
        return Finding(about="Prefect", well=False, said=said)
    return Finding(about="Prefect", well=True, said=f"{where} answers, version {answer.text.strip().strip(chr(34))}")


def _mlflow(settings: Settings) -> Finding:
    count = len(tracking.all_versions(settings))
    return Finding(about="MLflow", well=True, said=f"{shown(settings.tracking_uri)} answers; {count} versions")


def _ledger(settings: Settings) -> Finding:
    count = len(Ledger(settings.ledger_url).entries())
    return Finding(about="ledger", well=True, said=f"{shown(settings.ledger_url)} answers; {count} entries")


def _promotions(settings: Settings) -> Finding:
    ended = finish_interrupted(settings)
    if ended is not None:
        said = f"promotion {ended.sequence} by {ended.actor} was cut off; it is {ended.state} now"
        return Finding(about="promotions", well=True, said=said)
    if (moving := being_moved(Ledger(settings.ledger_url).head())) is not None:
        return Finding(about="promotions", well=True, said=moving)
    asked = [
        f"version {entry.version} passed the gates on {entry.created_at:%Y-%m-%d} and waits for a person: "
        f"`vizecg approve {entry.version} --reason …`"
        for entry in waiting(settings)
    ]
    return Finding(about="promotions", well=True, said="; ".join(asked) or "none was cut off")


def _champion(settings: Settings, *, put_alias_back: bool) -> Finding:
    look = look_at_champion(settings, put_it_back=put_alias_back)
    return Finding(about="champion", well=look.as_ledger, said=look.sentence)
