"""`vizecg gc`: what the state folder keeps that nothing needs any more; says what, how much and why before it goes.

Only what can be made or fetched again goes by itself. The audit trail goes only when asked for, a whole chain at a
time, for a chain without its beginning proves nothing.
"""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from stat import S_ISDIR
from typing import Final

from vizecg import tracking
from vizecg.errors import Conflict, VizecgError
from vizecg.promotion import Ledger
from vizecg.promotion.ledger import lineage_of
from vizecg.publish import locked
from vizecg.registry import DIGEST_TAG
from vizecg.settings import Settings

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_CHAIN: Final = re.compile(r"(?P<chain>audit-\d+)\.\d{6}\.jsonl")
_LEFTOVER: Final = re.compile(r"\.(?P<of>.+)\.(part|old)")
# Where folders are published, and a killed process may leave what it had begun.
_PUBLISHED_IN: Final = ("cache/bundles", "simulated", "sources", "workspaces")
_CHAMPIONS_KEPT: Final = 2
"""Of the lineage: the one in service, and the one that `vizecg rollback` would go back to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something in the state folder that is of no use, or looks so and is.

    Attributes:
        paths: that make it up.
        lock: it is at work while somebody holds the lock of this output.
        size_bytes: of all its files.
        why: it may go, or must stay.
        goes: whether it may.
    """

    paths: tuple[Path, ...]
    lock: Path
    size_bytes: int
    why: str
    goes: bool


def survey(
    settings: Settings,
    *,
    older_than: timedelta,
    audit: Path | None,
    audit_older_than: timedelta | None,
    now: datetime,
) -> Iterator[Thing]:
    """Look at everything and change nothing.

    Args:
        settings: whose state folder, registry and ledger.
        older_than: nothing goes in which anything was written since.
        audit: folder of the audit trail; None: there is none to look at.
        audit_older_than: chains that end before go; None: they all stay.
        now: with its time zone.
    """
    state = settings.state_dir
    for folder in sorted((state / "workspaces").glob("run-*")):
        if folder.is_dir():
            yield _judged((folder,), lock=folder, why="clone of a run that failed", older_than=older_than, now=now)
    yield from _leftovers(state, older_than=older_than, now=now)
    yield from _bundles(settings, older_than=older_than, now=now)
    if audit is not None:
        yield from _chains(audit, older_than=audit_older_than, now=now)


def remove(thing: Thing) -> bool:
    """Remove what may go; False when somebody has begun to work with it."""
    if not thing.goes:
        raise ValueError(f"{thing.paths[0]} must stay: {thing.why}")
    try:
        with locked(thing.lock):
            for path in thing.paths:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
    except Conflict:
        return False
    return True


def collect_and_show(
    settings: Settings, *, audit: Path, days: int, audit_days: int | None, dry_run: bool, now: datetime | None = None
) -> None:
    """Print a line for each thing, and remove what may go unless it is a dry run."""
    things = survey(
        settings,
        older_than=timedelta(days=days),
        audit=audit,
        audit_older_than=None if audit_days is None else timedelta(days=audit_days),
        now=now or datetime.now(UTC),
    )
    freed = 0
    for thing in list(things):
        goes, why = thing.goes, thing.why
        if goes and not dry_run and not remove(thing):
            goes, why = False, "somebody has begun to work with it"
        freed += thing.size_bytes if goes else 0
        said = ("would go" if dry_run else "gone") if goes else "stays"
        print(f"{said:8}  {_megabytes(thing.size_bytes):>10}  {thing.paths[0]}: {why}", flush=True)
    print(f"{_megabytes(freed)} {'would be freed; nothing was touched' if dry_run else 'freed'}")


def _leftovers(state: Path, *, older_than: timedelta, now: datetime) -> Iterator[Thing]:
    for name in _PUBLISHED_IN:
        for path in sorted((state / name).glob(".*")) if (state / name).is_dir() else ():
            if (named := _LEFTOVER.fullmatch(path.name)) and path.is_dir():
                lock = path.with_name(named["of"])
                yield _judged((path,), lock=lock, why="begun and never finished", older_than=older_than, now=now)


def _bundles(settings: Settings, *, older_than: timedelta, now: datetime) -> Iterator[Thing]:
    """Copies of registered bundles; whatever an alias, the ledger or a service's memory names stays."""
    place = settings.cache_dir / "bundles"
    copies = sorted(path for path in place.glob("*") if _DIGEST.fullmatch(path.name)) if place.is_dir() else []
    if not copies:
        return
    try:
        needed, registered = _needed(settings)
    except VizecgError as error:
        for copy in copies:
            why = f"whether it is needed cannot be asked: {error}"
            yield Thing(paths=(copy,), lock=copy, size_bytes=_size_and_time((copy,))[0], why=why, goes=False)
        return
    needed |= dict.fromkeys(_remembered(place), "a service starts from it when the registry is down")
    for copy in copies:
        reason = needed.get(copy.name)
        if reason is None and copy.name not in registered:
            reason = "the registry does not have it: this may be the only copy"
        if reason is not None:
            yield Thing(paths=(copy,), lock=copy, size_bytes=_size_and_time((copy,))[0], why=reason, goes=False)
        else:
            why = "copy of a version that no alias names; the registry has it"
            yield _judged((copy,), lock=copy, why=why, older_than=older_than, now=now)


def _needed(settings: Settings) -> tuple[dict[str, str], set[str]]:
    """Digest -> why it stays; and all digests that the registry has."""
    ledger = Ledger(settings.ledger_url)
    needed = {entry.bundle_digest: "a champion of late" for entry in lineage_of(ledger.entries())[-_CHAMPIONS_KEPT:]}
    if (pending := ledger.head().pending) is not None:
        needed[pending.bundle_digest] = f"{pending.actor} is making it the champion"
    digests = {str(found.version): (found.tags or {}).get(DIGEST_TAG) for found in tracking.all_versions(settings)}
    for alias, version in tracking.all_aliases(settings).items():
        if (digest := digests.get(version)) is not None:
            needed[digest] = f"the alias {alias} names it"
    return needed, {digest for digest in digests.values() if digest is not None}


def _remembered(place: Path) -> Iterator[str]:
    for memory in place.glob("last-*.json"):
        try:
            yield str(json.loads(memory.read_bytes())["bundle_digest"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # it is no service's memory, and protects nothing


def _chains(folder: Path, *, older_than: timedelta | None, now: datetime) -> Iterator[Thing]:
    chains: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("audit-*.jsonl")):
        if named := _CHAIN.fullmatch(path.name):
            chains.setdefault(named["chain"], []).append(path)
    for chain, files in sorted(chains.items()):
        if older_than is None:
            why = "audit trails go only when asked, with --audit-days"
            size = _size_and_time(tuple(files))[0]
            yield Thing(paths=tuple(files), lock=folder / chain, size_bytes=size, why=why, goes=False)
        else:
            why = f"audit trail, a whole chain of {len(files)} files"
            yield _judged(tuple(files), lock=folder / chain, why=why, older_than=older_than, now=now)


def _judged(paths: tuple[Path, ...], *, lock: Path, why: str, older_than: timedelta, now: datetime) -> Thing:
    held = _is_held(lock)  # before anything is walked: what is at work comes and goes
    size, written = _size_and_time(paths)
    if held:
        return Thing(paths=paths, lock=lock, size_bytes=size, why=f"{why}; somebody is at work with it", goes=False)
    if now - written < older_than:
        said = f"{why}; written to {written:%Y-%m-%d}, kept for {older_than.days} days"
        return Thing(paths=paths, lock=lock, size_bytes=size, why=said, goes=False)
    return Thing(paths=paths, lock=lock, size_bytes=size, why=f"{why}, of {written:%Y-%m-%d}", goes=True)


def _is_held(target: Path) -> bool:
    """Whether somebody holds an output's lock; looking leaves no trace."""
    try:
        opened = (target.parent / f".{target.name}.lock").open("rb")
    except FileNotFoundError:
        return False
    with opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _size_and_time(paths: tuple[Path, ...]) -> tuple[int, datetime]:
    """Bytes of all files, and when anything was written last; what vanishes meanwhile does not count."""
    size, newest = 0, 0.0
    for path in (each for top in paths for each in _everything(top)):
        with suppress(FileNotFoundError):
            status = path.lstat()
            newest = max(newest, status.st_mtime)
            size += 0 if S_ISDIR(status.st_mode) else status.st_size
    return size, datetime.fromtimestamp(newest, tz=UTC)


def _everything(top: Path) -> Iterator[Path]:
    yield top
    for folder, folders, files in os.walk(top):  # unlike `rglob` it passes over a folder that has vanished
        yield from (Path(folder, name) for name in (*folders, *files))


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
