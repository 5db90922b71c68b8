"""The book of champions: a SQL table that decides, whatever an alias says.

Every attempt is a row with the next number of its model. Two that judged the
same champion want the same number, the database gives it to one, and the other
is told so: that is the whole of the lock, and it holds on any database.
"""

import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateTable

from vizecg.errors import Conflict, InputError
from vizecg.settings import MODEL_NAME

Action = Literal["promote", "rollback"]
State = Literal["pending", "committed", "reverted", "refused", "waiting"]
"""`waiting`: the gates let it through, and a person has yet to approve it; nobody else is held up by that."""

# Moving an alias takes two requests of seconds each: what is pending for longer was left behind.
LEASE: Final = timedelta(minutes=5)
SQLITE_BUSY_MS: Final = 20_000

_metadata = sa.MetaData()
_promotions = sa.Table(
    "promotions",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model", sa.String(255), nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("expected_champion", sa.String(64)),
    sa.Column("version", sa.String(32), nullable=False),
    sa.Column("bundle_digest", sa.String(64), nullable=False),
    sa.Column("identity", sa.Text, nullable=False),
    sa.Column("previous_version", sa.String(32)),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("finished_at", sa.DateTime(timezone=True)),
    sa.UniqueConstraint("model", "sequence", name="one_winner_a_sequence"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What somebody wants: this version to be the champion."""

    action: Action
    version: str
    bundle_digest: str
    actor: str
    reason: str
    identity: Mapping[str, Any]
    """Task, classes and provenance of the bundle, for a day on which its files are gone."""
    verdict: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row.

    Attributes:
        sequence: counts the attempts of this model, from 1, without gaps.
        expected_champion: digest of the bundle that it replaces or was judged against; None for the first.
        owner: who is at it while the row is pending; empty once nobody is.
    """

    id: int
    model: str
    sequence: int
    action: Action
    expected_champion: str | None
    version: str
    bundle_digest: str
    identity: Mapping[str, Any]
    previous_version: str | None
    actor: str
    reason: str
    verdict: Mapping[str, Any]
    state: State
    owner: str
    created_at: datetime
    finished_at: datetime | None

    @property
    def abandoned(self) -> bool:
        """Whether it is pending and nobody is at it any more."""
        return self.state == "pending" and not _at_work(self.owner, since=self.created_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where the book stands: what a decision was made on, and what it must still be when it is written down."""

    sequence: int
    champion: Entry | None
    pending: Entry | None


class Ledger:
    """The rows of one model.

    Args:
        url: SQLAlchemy's address of the database; made when it is a file that is not there.
        model: name of the registered model.

    Raises:
        InputError: the database cannot be reached or used.
    """

    def __init__(self, url: str, *, model: str = MODEL_NAME) -> None:
        self.model = model
        try:
            address = sa.make_url(url)
            # A pool would keep files and sessions open for a program that asks twice a day.
            self._engine = sa.create_engine(address, poolclass=NullPool)
        except (sa.exc.ArgumentError, ImportError) as error:
            raise InputError(f"VIZECG_LEDGER_URL is not an address of a database: {error}") from None
        except ValueError:  # its text may quote what somebody's password was cut into
            raise InputError("VIZECG_LEDGER_URL is not an address of a database: its port is no number") from None
        self._shown = address.render_as_string(hide_password=True)
        if address.get_backend_name() == "sqlite":
            if address.database:
                Path(address.database).parent.mkdir(parents=True, exist_ok=True)
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
        self._make_table()

    def head(self) -> Head:
        """Where the book stands now."""
        entries = self.entries()
        last = entries[-1] if entries else None
        lineage = lineage_of(entries)
        return Head(
            sequence=last.sequence if last else 0,
            champion=lineage[-1] if lineage else None,
            pending=last if last and last.state == "pending" else None,
        )

    def entries(self) -> tuple[Entry, ...]:
        """All rows, oldest first."""
        wanted = sa.select(_promotions).where(_promotions.c.model == self.model).order_by(_promotions.c.sequence)
        with self._asking() as connection:
            return tuple(_entry(row) for row in connection.execute(wanted).mappings())

    def begin(self, move: Move, *, head: Head, previous: tuple[str, str] | None) -> Entry:
        """Announce a move; until it is finished nobody else can announce one.

        Args:
            move: what is wanted.
            head: on which it was decided.
            previous: version and digest of the champion it replaces.

        Raises:
            Conflict: since `head` somebody else wrote into the book, or still is at it.
        """
        return self._insert(move, head=head, previous=previous, state="pending")

    def refuse(self, move: Move, *, head: Head, previous: tuple[str, str] | None) -> Entry:
        """Write down a move that the gates refused; raises as `begin` does."""
        return self._insert(move, head=head, previous=previous, state="refused")

    def wait(self, move: Move, *, head: Head, previous: tuple[str, str] | None) -> Entry:
        """Write down a move that waits for a person's approval; raises as `begin` does."""
        return self._insert(move, head=head, previous=previous, state="waiting")

    def finish(self, entry: Entry, *, state: Literal["committed", "reverted"]) -> Entry:
        """End a pending move.

        Raises:
            Conflict: somebody else has ended it, taking it for abandoned.
        """
        now = datetime.now(UTC)
        if not self._change(entry, state=state, owner="", finished_at=now):
            raise Conflict(
                f"promotion {entry.sequence} of {self.model} was ended by somebody else in the meantime; "
                "see `vizecg models history`, then try again"
            )
        return replace(entry, state=state, owner="", finished_at=now)

    def abandon(self, entry: Entry) -> None:
        """Say that nobody is at a pending move any more, so that the next who comes ends it."""
        self._change(entry, owner="")

    def _insert(self, move: Move, *, head: Head, previous: tuple[str, str] | None, state: State) -> Entry:
        if head.pending is not None:
            raise self._conflict(head.pending)
        now = datetime.now(UTC)
        row = {
            "model": self.model,
            "sequence": head.sequence + 1,
            "action": move.action,
            "expected_champion": previous[1] if previous else None,
            "version": move.version,
            "bundle_digest": move.bundle_digest,
            "identity": json.dumps(dict(move.identity), sort_keys=True),
            "previous_version": previous[0] if previous else None,
            "actor": move.actor,
            "reason": move.reason,
            "verdict": json.dumps(dict(move.verdict), sort_keys=True),
            "state": state,
            "owner": _owner() if state == "pending" else "",
            "created_at": now,
            "finished_at": None if state == "pending" else now,
        }
        try:
            with self._asking() as connection:
                inserted = connection.execute(sa.insert(_promotions).values(row))
                (number,) = inserted.inserted_primary_key or (None,)
        except sa.exc.IntegrityError:
            first = next((entry for entry in self.entries() if entry.sequence == head.sequence + 1), None)
            raise self._conflict(first) from None
        return _entry({**row, "id": number})

    def _conflict(self, first: Entry | None) -> Conflict:
        who = f"{first.actor} (version {first.version}, {first.state})" if first else "somebody else"
        number = f"promotion {first.sequence} of {self.model}" if first else f"the next promotion of {self.model}"
        return Conflict(f"{number} belongs to {who}, who was first; see `vizecg models history`, then try again")

    def _change(self, entry: Entry, **values: object) -> bool:
        still = (_promotions.c.id == entry.id) & (_promotions.c.state == "pending")
        with self._asking() as connection:
            return connection.execute(sa.update(_promotions).where(still).values(**values)).rowcount == 1

    def _make_table(self) -> None:
        with self._asking() as connection:
            if sa.inspect(connection).has_table(_promotions.name):
                return
        try:
            with self._asking() as connection:
                connection.execute(CreateTable(_promotions, if_not_exists=True))
        except sa.exc.IntegrityError:  # PostgreSQL, when two make it at once; then it is there
            pass

    @contextmanager
    def _asking(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.IntegrityError:
            raise
        except sa.exc.DBAPIError as error:
            reason = str(error.orig).strip().splitlines()[0]
            raise InputError(f"the ledger at {self._shown} cannot be used: {reason}; see VIZECG_LEDGER_URL") from error


def lineage_of(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """How today's champion came about: the committed promotions that were not rolled back, oldest first."""
    return _replay(entries)[0]


def withdrawn_by(entries: Sequence[Entry]) -> dict[str, Entry]:
    """Bundle digest -> the rollback that took it back, for those not promoted again since."""
    return _replay(entries)[1]


def _replay(entries: Sequence[Entry]) -> tuple[tuple[Entry, ...], dict[str, Entry]]:
    stack: list[Entry] = []
    withdrawn: dict[str, Entry] = {}
    for entry in entries:
        if entry.state != "committed":
            continue
        if entry.action == "promote":
            stack.append(entry)
            withdrawn.pop(entry.bundle_digest, None)
            continue
        while stack and stack[-1].bundle_digest != entry.bundle_digest:
            withdrawn[stack.pop().bundle_digest] = entry
        if not stack:  # back to a champion from before the book was begun
            stack.append(entry)
    return tuple(stack), withdrawn


def _entry(row: Mapping[str, Any] | sa.RowMapping) -> Entry:
    values = dict(row)
    for name in ("identity", "verdict"):
        values[name] = json.loads(values[name])
    for name in ("created_at", "finished_at"):
        moment = values[name]
        # SQLite forgets the time zone; all of ours are UTC.
        values[name] = moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
    return Entry(**values)


def _prepare_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 (a connection of whichever driver)
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_MS}")  # first: the next one takes a lock
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _write_ahead(cursor: Any) -> None:  # noqa: ANN401
    """Turn a new file to write-ahead logging; SQLite's busy timeout does not cover two that do it at once."""
    give_up_at = time.monotonic() + SQLITE_BUSY_MS / 1000
    while cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.02)


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def _at_work(owner: str, *, since: datetime) -> bool:
    """Whether the process that wrote `owner` may still be at it; another machine's has its lease."""
    if not owner:
        return False
    host, pid, started = owner.rsplit(":", 2)
    if host == socket.gethostname() and started:
        return _started(int(pid)) == started
    return datetime.now(UTC) - since < LEASE


def _started(pid: int) -> str:
    """When a process of this machine started, in ticks since boot: numbers of processes are used again.

    Empty where it has ended, or where there is no /proc.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    # The second field is the program's name in brackets, and may hold spaces and brackets.
    after_name = stat.rpartition(")")[2].split()
    return "" if after_name[0] in ("Z", "X") else after_name[19]
