"""The state of a stack as one folder, and a new stack from it.

The databases come first and the store last: whatever a database names was in the store before,
and stays there, so it is in the copy too. What was stored meanwhile is in the copy and named by
nobody, which is no harm. The ledger comes before MLflow, for it names what MLflow has.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from vizecg.errors import InputError
from vizecg.process import run_within
from vizecg.publish import publishing, verify
from vizecg.settings import Settings
from vizecg.stack import postgres
from vizecg.stack.layout import BUCKET, Layout, folder_of, read_layout

KIND: Final = "stack-backup"
SCHEMA_VERSION: Final = 1
_STORE: Final = "store"
_DATABASES_IN_ORDER: Final = ("ledger", "mlflow", "prefect")
_AT_ONCE: Final = 8
_DUMP_TIMEOUT_S: Final = 6 * 3600.0


def back_up(out: Path) -> int:
    """Copy databases and store of the running stack; it may work on meanwhile.

    Args:
        out: folder of the backup; replaced as a whole, or not at all.

    Returns:
        How many objects of the store were copied.

    Raises:
        InputError: the stack does not answer.
        Conflict: another backup is being written there.
    """
    layout = read_layout(folder_of(Settings()))
    with publishing(out, kind=KIND, schema_version=SCHEMA_VERSION) as staging:
        for database in _DATABASES_IN_ORDER:
            _run(layout, "pg_dump", ["--format", "custom", "--file", str(_dump(staging, database)), database])
        return _copy_store(layout, to=staging / _STORE)


def restore(layout: Layout, *, backup: Path, say: Callable[[str], object]) -> None:
    """Fill the empty databases and the empty store of a new stack, before anything else uses them.

    Raises:
        InputError: the backup is damaged, or PostgreSQL or the store do not take it.
    """
    for database in _DATABASES_IN_ORDER:
        options = ["--no-owner", "--exit-on-error", "--dbname", database]
        _run(layout, "pg_restore", [*options, str(_dump(backup, database))])
    count = _fill_store(layout, backup / _STORE)
    say(f"{', '.join(_DATABASES_IN_ORDER)} and {count} objects of the store are as in {backup}")


def check(backup: Path) -> None:
    """Hold a backup against its manifest.

    Raises:
        InputError: it is none, or not as it was written.
    """
    verify(backup, kind=KIND, schema_version=SCHEMA_VERSION)


def _dump(folder: Path, database: str) -> Path:
    return folder / f"{database}.dump"


def _run(layout: Layout, program: str, arguments: Sequence[str]) -> None:
    done = run_within(
        _DUMP_TIMEOUT_S,
        [str(postgres.programs() / program), *arguments],
        cwd=Path.cwd(),
        what=program,
        mend="see whether PostgreSQL answers (`vizecg stack status`), then try again",
        environment=postgres.client_environment(layout),
    )
    if done.returncode != 0:
        raise InputError(f"{program} failed: {' / '.join(done.stderr.strip().splitlines()[-3:])}")


def _copy_store(layout: Layout, *, to: Path) -> int:
    to.mkdir()
    with _store(layout) as (client, pool):

        def get(key: str) -> None:
            target = to / key
            target.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(BUCKET, key, str(target))

        return sum(1 for _ in pool.map(get, _keys(client)))


def _fill_store(layout: Layout, folder: Path) -> int:
    with _store(layout) as (client, pool):
        files = [path for path in folder.rglob("*") if path.is_file()]

        def put(path: Path) -> None:
            client.upload_file(str(path), BUCKET, path.relative_to(folder).as_posix())

        return sum(1 for _ in pool.map(put, files))


@contextmanager
def _store(layout: Layout) -> "Iterator[tuple[Any, ThreadPoolExecutor]]":
    """A client of the stack's S3, which threads may share, and the threads.

    Raises:
        InputError: the store does not answer, or refuses.
    """
    import boto3
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.session.Session().client(
        "s3",
        endpoint_url=layout.url("s3"),
        region_name="us-east-1",
        aws_access_key_id=layout.secrets["s3_access_key"],
        aws_secret_access_key=layout.secrets["s3_secret_key"],
    )
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield client, pool
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise InputError(f"the store at {layout.url('s3')} cannot be used: {error}") from error


def _keys(client: Any) -> Iterator[str]:  # noqa: ANN401 (boto3 ships no types)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        yield from (entry["Key"] for entry in page.get("Contents", ()))
