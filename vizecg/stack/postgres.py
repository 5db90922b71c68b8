"""PostgreSQL of a stack: the machine's own, else that of the package `pgserver`."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vizecg.errors import InputError
from vizecg.servers import LOOPBACK
from vizecg.stack.layout import DATABASES, USER, Layout, server_environment

_DATA: Final = "data"
_PASSWORD: Final = "password"  # noqa: S105 (a file's name)
_TIMEOUT_S: Final = 5


def programs() -> Path:
    """The folder with initdb, postgres, pg_dump and pg_restore: on PATH, Debian's, or the package `pgserver`'s.

    Raises:
        InputError: there is none.
    """
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    if debian := sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        return debian[0]
    package = importlib.util.find_spec("pgserver")
    if package is not None and package.origin is not None:
        return Path(package.origin).parent / "pginstall" / "bin"
    raise InputError(
        "no PostgreSQL here: install the package postgresql of this machine's distribution, or `pip install pgserver`"
    )


def prepare(layout: Layout) -> None:
    """Make the data folder, once; the password is in no command line and stays in no file of the folder.

    Raises:
        InputError: initdb does not end well.
    """
    folder = layout.folder / "postgres"
    if (folder / _DATA / "PG_VERSION").is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    password = folder / _PASSWORD
    password.touch(mode=0o600)
    password.write_text(layout.secrets["postgres_password"], encoding="utf-8")
    options = ["-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--locale", "C"]
    made = subprocess.run(
        _command(layout, "initdb", ["-D", f"{{folder}}/{_DATA}", "--pwfile", f"{{folder}}/{_PASSWORD}", *options]),
        env=server_environment(layout, "postgres"),
        cwd=layout.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    password.unlink()
    if made.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(f"initdb for {folder} failed: {' / '.join(made.stderr.strip().splitlines()[-3:])}")


def command(layout: Layout) -> list[str]:
    """The server, on loopback alone."""
    options = ["-h", LOOPBACK, "-p", str(layout.ports["postgres"]), "-k", ""]
    return _command(layout, "postgres", ["-D", f"{{folder}}/{_DATA}", *options])


def answers(layout: Layout) -> bool:
    """Whether it lets us in; makes the databases that are not there."""
    import pg8000.dbapi

    try:
        connection = pg8000.dbapi.connect(
            USER,
            host=LOOPBACK,
            port=layout.ports["postgres"],
            password=layout.secrets["postgres_password"],
            database="postgres",
            timeout=_TIMEOUT_S,
        )
    except (pg8000.dbapi.Error, OSError):
        return False
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("select datname from pg_database")
        there = {name for (name,) in cursor.fetchall()}
        for name in DATABASES:
            if name not in there:
                cursor.execute(f"create database {name}")
    except (pg8000.dbapi.Error, OSError):
        return False
    finally:
        connection.close()
    return True


def client_environment(layout: Layout) -> dict[str, str]:
    """What pg_dump and pg_restore need, so that no command line holds the password."""
    return {
        **os.environ,
        "PGHOST": LOOPBACK,
        "PGPORT": str(layout.ports["postgres"]),
        "PGUSER": USER,
        "PGPASSWORD": layout.secrets["postgres_password"],
    }


def _command(layout: Layout, program: str, arguments: Sequence[str]) -> list[str]:
    folder = str(layout.folder / "postgres")
    return [sys.executable, "-m", "vizecg.stack.unprivileged", folder, str(programs() / program), *arguments]
