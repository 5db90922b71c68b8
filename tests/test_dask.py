"""A Dask cluster makes the same bytes, also when a worker is killed; what cannot work is refused in a sentence."""

import os
import signal
import time
from pathlib import Path

import pytest

# Scheduler and workers import this file for its functions, so what is heavy is imported where it is needed.
from vizecg.errors import InputError
from vizecg.executors import in_order, open_executor

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("dask")]

RECORDS = 8
STARTED = "Starting worker compute stream"


def square(number: int) -> int:
    time.sleep(0.02 if number % 3 == 0 else 0)  # the first of each three ends last
    return number * number


def refuse(number: int) -> int:
    raise LookupError(f"no {number} here")


def process_of(_: object) -> int:
    time.sleep(0.1)
    return os.getpid()


def end_the_worker(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def unlike(_: object) -> bytes:
    return os.urandom(8)


def tasks_of(dask_scheduler) -> int:
    return len(dask_scheduler.tasks)


@pytest.fixture
def executor(dask_cluster):
    with open_executor(dask_cluster.address, workers=0) as opened:
        yield opened


def test_results_come_in_the_order_of_the_work(executor):
    assert list(in_order(executor, square, range(20), ahead=5)) == [n * n for n in range(20)]


def test_what_a_worker_raises_reaches_the_caller(executor):
    with pytest.raises(LookupError, match="no 3 here"):
        list(in_order(executor, refuse, [3], ahead=2))


def test_it_is_as_wide_as_the_cluster_whatever_the_local_workers(dask_cluster):
    with open_executor(dask_cluster.address, workers=64) as executor:
        assert executor.at_once == 2
        assert len(set(in_order(executor, process_of, range(6), ahead=4))) == 2


def test_equal_calls_are_two_calls(executor):
    assert len(set(in_order(executor, unlike, [1] * 10, ahead=10))) == 10


def test_the_cluster_holds_no_more_than_was_asked_for(executor):
    results = in_order(executor, square, range(60), ahead=4)
    held = [executor._client.run_on_scheduler(tasks_of) for _ in results]
    assert max(held) <= 6, "four that are wanted, and those that are just being forgotten"


def test_megabytes_travel_without_a_word(executor):
    assert list(in_order(executor, len, [b"x" * 12_000_000], ahead=1)) == [12_000_000]


def test_an_error_takes_back_what_has_not_begun(dask_cluster):
    started_s = time.monotonic()
    with pytest.raises(RuntimeError, match="enough"), open_executor(dask_cluster.address, workers=0) as executor:
        for _ in range(2):
            executor.submit(time.sleep, 0.5)
        for _ in range(50):
            executor.submit(time.sleep, 5)
        raise RuntimeError("enough")
    assert time.monotonic() - started_s < 20


def test_a_worker_with_other_code_is_refused_before_any_work(dask_cluster, monkeypatch):
    from vizecg.executors import cluster

    ours = cluster.software()
    monkeypatch.setattr(cluster, "software", lambda: {**ours, "vizecg": "c0ffee", "numpy": "1.0"})
    message = rf"the Dask worker on \S+ has vizecg {ours['vizecg']}, wanted is c0ffee; numpy \S+, wanted is 1.0: "
    with pytest.raises(InputError, match=message), open_executor(dask_cluster.address, workers=0):
        pass


def test_a_worker_that_comes_later_with_other_code_is_refused_too(executor, monkeypatch):
    from vizecg.executors import cluster

    monkeypatch.setattr(cluster, "software", lambda: {"vizecg": "c0ffee"})
    with pytest.raises(InputError, match="wanted is c0ffee"):
        executor.submit(square, 2).result()


def test_a_place_without_vizecg_is_refused_before_any_work(dask_cluster, monkeypatch):
    from vizecg.executors import cluster

    monkeypatch.setattr(cluster, "__name__", "vizecg_of_another_time.executors.cluster")
    with (
        pytest.raises(InputError, match="or one of its workers, lacks this version of vizecg: install there"),
        open_executor(dask_cluster.address, workers=0),
    ):
        pass


def test_a_worker_is_not_taken_for_its_scheduler(executor):
    worker = next(iter(executor._client.nthreads()))
    with pytest.raises(InputError, match=f"at {worker} is a Worker of a Dask cluster; name its scheduler"):
        open_executor(worker, workers=0)


@pytest.fixture
def poor_cluster(serve_dask, tmp_path, monkeypatch):
    """A scheduler without workers, and with patience for none that ends."""
    monkeypatch.setattr("vizecg.executors.cluster.CONNECT_TIMEOUT_S", 3.0)
    with serve_dask(tmp_path, workers=0, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as cluster:
        yield cluster


def test_a_cluster_that_has_no_workers_or_loses_them_over_the_work_says_so(poor_cluster):
    with pytest.raises(InputError, match=r"has no workers; start some: dask worker tcp://127.0.0.1:\d+"):
        open_executor(poor_cluster.address, workers=0)
    poor_cluster.start_worker()
    poor_cluster.wait_until(STARTED)
    message = r"workers of the Dask cluster at \S+ ended 1 times over the same work, the last was tcp://"
    with pytest.raises(InputError, match=message), open_executor(poor_cluster.address, workers=0) as executor:
        list(in_order(executor, end_the_worker, [1], ahead=1))


def test_a_scheduler_that_is_killed_ends_the_work_in_a_sentence(poor_cluster, caplog):
    poor_cluster.start_worker()
    poor_cluster.wait_until(STARTED)
    message = r"the Dask scheduler at tcp://127.0.0.1:\d+ was lost; run the step again"
    with pytest.raises(InputError, match=message), open_executor(poor_cluster.address, workers=0) as executor:
        for done in in_order(executor, process_of, range(100), ahead=lambda: 2 * executor.at_once):
            assert done
            os.kill(executor._client.run_on_scheduler(os.getpid), signal.SIGKILL)
    assert not caplog.messages


@pytest.mark.slow
def test_an_encrypted_cluster_is_reached_with_the_certificates_of_dasks_configuration(serve_dask, tmp_path):
    import dask.config
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    ours = {"ca-file": "ca.pem", "client.cert": "own.pem", "client.key": "own.pem"}
    configuration = {f"distributed.comm.tls.{name}": str(tmp_path / file) for name, file in ours.items()}
    options = ["--protocol", "tls", "--tls-ca-file", str(tmp_path / "ca.pem"), "--tls-cert", str(tmp_path / "own.pem")]
    (tmp_path / "dask").mkdir()
    with serve_dask(tmp_path / "dask", workers=1, options=options) as cluster:
        assert cluster.address.startswith("tls://")
        with pytest.raises(InputError, match="needs certificates: Dask's configuration names them"):
            open_executor(cluster.address, workers=0)
        with dask.config.set(configuration), open_executor(cluster.address, workers=0) as executor:
            assert executor.submit(square, 3).result() == 9


# Through the steps


@pytest.fixture
def killed(dask_cluster, monkeypatch):
    """Kills a worker in the middle of a step, while it works; gives its process. A new one comes afterwards."""
    pids: list[int] = []

    def tracked(items, **_):
        for item in items:
            if not pids:
                pids.extend(kill_a_busy_worker(client))
            yield item

    monkeypatch.setattr("vizecg.progress.tracked", tracked)
    from distributed import Client

    with Client(dask_cluster.address.replace("dask://", "tcp://"), set_as_default=False) as client:
        yield pids
    started = dask_cluster.log.read_text().count(STARTED)
    dask_cluster.start_worker()
    dask_cluster.wait_until(STARTED, times=started + 1)


def kill_a_busy_worker(client) -> list[int]:
    busy = [worker for worker, tasks in client.processing().items() if tasks]
    pids = list(client.run(os.getpid, workers=busy[:1]).values()) if busy else []
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return pids


def ingest_simulated(into: Path, **changes) -> str:
    """Draw some records and read them; gives the digest of the record set."""
    from vizecg.records import read_record_set
    from vizecg.sources import write_pin
    from vizecg.steps import ingest

    params = ingest.Params(
        source="simulated",
        task="superdiagnostic",
        limit=None,
        sampling_hz=100,
        label_map=None,
        max_quarantined=0,
        fetch={"connections": 1, "part_mb": 1, "tries": 1, "deadline_s": 60},
        s3={"endpoint_url": None, "region": None, "signed": False},
        simulated={"records": RECORDS, "seed": 7},
        **changes,
    )
    write_pin(into.with_suffix(".json"), params)
    ingest.run(params, source=into.with_suffix(".json"), records=into)
    return read_record_set(into).digest


def render_scans(records: Path, into: Path, **changes) -> bytes:
    """Draw a page and a scan of each record; gives the page set's manifest, which has the digest of each file."""
    from vizecg.steps import render

    fixed = {"seed": 7, "copies": 2, "style": "standard", "camera": "scan", "contact_sheet": "none"}
    params = render.Params(**fixed, upload_px_per_mm=3.0, px_per_mm=1.0, **changes)
    render.run(params, records=records, pages=into)
    return (into / "manifest.json").read_bytes()


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dask-records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIZECG_STATE_DIR", str(folder / "state"))
        digest = ingest_simulated(folder / "records", executor="processes", workers=0)
    return folder / "records", digest


@pytest.fixture(scope="module")
def manifest(records):
    folder, _ = records
    return render_scans(folder, folder.parent / "pages", executor="processes", workers=0)


def test_records_are_the_same_bytes(dask_cluster, records, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIZECG_STATE_DIR", "state")  # the workers stand in another folder
    _, digest = records
    assert ingest_simulated(tmp_path / "records", executor=dask_cluster.address, workers=0) == digest


def test_pages_are_the_same_bytes_though_a_worker_is_killed(
    dask_cluster, records, manifest, killed, tmp_path, monkeypatch
):
    monkeypatch.setattr("vizecg.pages.drawing.RECORDS_PER_TASK", 1)
    folder, _ = records
    assert render_scans(folder, tmp_path / "pages", executor=dask_cluster.address, workers=0) == manifest
    assert killed, "the step was done before a worker could be killed"
