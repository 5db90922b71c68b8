"""Ledger, MLflow and Prefect on a real PostgreSQL, by settings alone."""

import importlib.util
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from vizecg import tracking
from vizecg.environment import house_environment
from vizecg.errors import Conflict, InputError
from vizecg.promotion import Ledger, history, promote, rollback
from vizecg.registry import Registry
from vizecg.servers import LOOPBACK, free_port, mlflow_command, prefect_command, started, wait_until_healthy
from vizecg.settings import CHAMPION, Settings

pytestmark = [
    pytest.mark.servers,
    pytest.mark.xdist_group("ports"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),  # MLflow 3.17 under SQLAlchemy 2.1
]


def helpers(name):
    path = Path(__file__).parent.parent / "promotion" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"promotion_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bundles, promoting, ledgers = helpers("conftest"), helpers("test_promotion"), helpers("test_ledger")

# What a ledger promises does not depend on its database: the very tests of the embedded one.
PROMISES = [
    ledgers.test_what_is_written_is_read_back,
    ledgers.test_two_who_judged_the_same_champion_one_wins_and_the_other_is_told_who,
    ledgers.test_nobody_begins_while_another_is_at_it,
    ledgers.test_a_verdict_about_a_champion_of_yesterday_does_not_count,
    ledgers.test_a_refusal_is_in_the_book_and_changes_no_champion,
    ledgers.test_what_was_ended_by_another_is_not_ended_again,
    ledgers.test_rolling_back_twice_goes_back_two_and_a_new_promotion_builds_on_what_is_left,
]


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_a_ledger_on_postgresql_keeps_its_promises(postgres, promise):
    promise(Ledger(postgres.address(postgres.database())))


@pytest.mark.parametrize(("writers", "rounds"), [(4, 4), pytest.param(8, 50, marks=pytest.mark.slow)])
def test_writers_at_once_lose_nothing_and_double_nothing(postgres, writers, rounds):
    url = postgres.address(postgres.database())
    with ThreadPoolExecutor(writers) as pool:  # all of them make the table too
        told = list(pool.map(lambda number: ledgers._race(url, number, rounds=rounds), range(writers)))
    entries = Ledger(url).entries()
    assert sorted(entry.version for entry in entries) == sorted(version for wins, _ in told for version in wins)
    assert [entry.sequence for entry in entries] == list(range(1, writers * rounds + 1))
    assert sum(lost for _, lost in told) > 0  # else they never met


def test_a_wrong_password_is_one_sentence_that_does_not_tell_it(postgres):
    url = postgres.address("postgres").replace(postgres.password, "guessed-wrong")
    with pytest.raises(InputError, match=r"the ledger at postgresql\+pg8000://vizecg:\*\*\*@.* cannot be used") as told:
        Ledger(url)
    assert "guessed-wrong" not in str(told.value)


@contextmanager
def mlflow_on(database_url, *, folder):
    port = free_port(5100)
    command = mlflow_command(port=port, database_url=database_url, artifact_root=folder / "artifacts")
    with started(
        "MLflow",
        command,
        url=f"http://{LOOPBACK}:{port}",
        health="/health",
        cwd=folder,
        environment={**os.environ, **house_environment(Settings(state_dir=folder))},
        log=folder / "mlflow.log",
    ) as server:
        wait_until_healthy(server, timeout_s=240)
        yield server.url


@pytest.mark.slow
def test_a_team_registers_promotes_and_serves_over_postgresql(postgres, tmp_path):
    database_url = postgres.address(postgres.database())
    with mlflow_on(database_url, folder=tmp_path) as url:
        settings = Settings(state_dir=tmp_path, tracking_uri=url, ledger_url=postgres.address(postgres.database()))
        for seed in (0, 1, 2):
            tracking.ensure_registered(bundles.write_bundle(tmp_path / f"{seed}", seed=seed), settings=settings)
        assert promoting.please(settings, version="1").state == "committed"
        told = both_at_once(settings)
        assert sorted(kind for kind, _ in told) == ["committed", "conflict"]
        (winner,) = (version for kind, version in told if kind == "committed")
        champion = Registry(settings).resolve(CHAMPION)
        assert champion.version == winner
        folder = Registry(settings).fetch(champion)
        assert promoting.digest_of(folder) == champion.bundle_digest
        assert rollback(settings, actor="anna", reason="test").version == "1"
        assert [entry.state for entry in history(settings)] == ["committed"] * 3


def both_at_once(settings):
    """Versions 2 and 3 are judged against the same champion at the same time."""
    judged = threading.Barrier(2, timeout=120)

    def one(version):
        jury = promoting.Jury()
        jury.meanwhile = judged.wait
        try:
            gates = {"gather": jury, "params": promoting.PARAMS, "actor": f"who wants {version}"}
            return promote(settings, version=version, **gates).state, version
        except Conflict:
            return "conflict", version

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, ("2", "3")))


@pytest.mark.slow
def test_prefect_keeps_its_book_in_postgresql(postgres, tmp_path):
    database = postgres.database()
    port = free_port(4400)
    with started(
        "Prefect",
        prefect_command(port=port),
        url=f"http://{LOOPBACK}:{port}",
        health="/api/health",
        cwd=tmp_path,
        environment={
            **os.environ,
            **house_environment(Settings(state_dir=tmp_path)),
            "PREFECT_API_DATABASE_CONNECTION_URL": postgres.address(database, driver="asyncpg"),
        },
        log=tmp_path / "prefect.log",
    ) as server:
        wait_until_healthy(server, timeout_s=240)
    import sqlalchemy as sa

    with sa.create_engine(postgres.address(database)).connect() as connection:
        assert sa.inspect(connection).has_table("flow_run")
    assert not list(tmp_path.rglob("prefect.db"))
    assert sys.modules.get("psycopg2") is None
