"""Collecting garbage: what nothing needs goes, when it is old; what anything needs stays, however old it is."""

import os
import shutil
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vizecg import collecting, publish, tracking
from vizecg.chain import ChainWriter, verify
from vizecg.collecting import collect_and_show
from vizecg.promotion import Ledger, nominate
from vizecg.promotion.ledger import Move
from vizecg.registry import Registry
from vizecg.settings import CHAMPION
from vizecg.tracking import ensure_registered

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow 3.17 under SQLAlchemy 2.1
LATER = datetime.now(UTC) + timedelta(days=100)


@pytest.fixture
def collect(settings, capsys):
    def run(*, dry_run=False, now=LATER, settings=settings, **options):
        how = {"audit": settings.state_dir / "audit", "days": 30, "audit_days": None, **options}
        capsys.readouterr()
        collect_and_show(settings, dry_run=dry_run, now=now, **how)
        lines = capsys.readouterr().out.splitlines()
        return {line.partition(": ")[0].split()[-1].rpartition("/")[2]: line for line in lines[:-1]}, lines[-1]

    return run


def folder_of_a_run(settings, name):
    folder = settings.state_dir / "workspaces" / name
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "pages.npy").write_bytes(b"x" * 2_500_000)
    return folder


def everything_below(folder: Path):
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_dry_run_says_what_would_go_and_touches_nothing(settings, collect):
    folder_of_a_run(settings, "run-1")
    before = everything_below(settings.state_dir / "workspaces")
    lines, end = collect(dry_run=True)
    assert "would go" in lines["run-1"]
    assert "clone of a run that failed" in lines["run-1"]
    assert end == "2.5 MB would be freed; nothing was touched"
    assert everything_below(settings.state_dir / "workspaces") == before


def test_a_failed_run_goes_when_it_is_old_and_no_other_workspace_does(settings, collect):
    old, comparison = folder_of_a_run(settings, "run-1"), folder_of_a_run(settings, "comparison")
    lines, end = collect(now=datetime.now(UTC) + timedelta(days=29))
    assert "kept for 30 days" in lines["run-1"]
    assert old.is_dir()
    lines, end = collect()
    assert (lines["run-1"].split()[0], end) == ("gone", "2.5 MB freed")
    assert not old.exists()
    assert comparison.is_dir()
    assert collect() == ({}, "0.0 MB freed")


def test_a_run_that_is_at_work_stays_however_old_its_files_are(settings, collect):
    folder = folder_of_a_run(settings, "run-1")
    with publish.locked(folder):
        for dry_run in (True, False):
            lines, _ = collect(dry_run=dry_run)
            assert "somebody is at work with it" in lines["run-1"]
    assert folder.is_dir()


def test_what_vanishes_while_it_is_looked_at_ends_nothing(settings, collect, monkeypatch):
    folder, everything = folder_of_a_run(settings, "run-1"), collecting._everything

    def vanishing(top):
        for path in everything(top):
            if path.name == "data":
                shutil.rmtree(path)
            yield path

    monkeypatch.setattr(collecting, "_everything", vanishing)
    assert "gone" in collect()[0]["run-1"]
    assert not folder.exists()


def test_the_lock_is_looked_at_before_the_files(settings, collect, monkeypatch):
    folder = folder_of_a_run(settings, "run-1")
    with ExitStack() as run:
        run.enter_context(publish.locked(folder))
        walk = collecting._size_and_time

        def walked_while_the_run_ends(paths):
            run.close()
            return walk(paths)

        monkeypatch.setattr(collecting, "_size_and_time", walked_while_the_run_ends)
        assert "somebody is at work with it" in collect()[0]["run-1"]
    assert folder.is_dir()


def test_what_was_begun_and_never_finished_goes(settings, collect):
    part = settings.state_dir / "sources" / ".abc-100.part"
    part.mkdir(parents=True)
    (part / "records.dat").write_bytes(b"half")
    with publish.locked(part.with_name("abc-100")):
        assert "stays" in collect()[0][".abc-100.part"]
    collect()
    assert not part.exists()


@pytest.fixture
def fetched(settings, make_bundle):
    """Copies of six versions: 1 to 3 were promoted in turn, 4 is the challenger, 5 a service's memory, 6 nothing."""
    registry, ledger, copies = Registry(settings), Ledger(settings.ledger_url), {}
    for seed in range(1, 7):
        ensure_registered(make_bundle(f"b{seed}", seed=seed), settings=settings)
        pinned = registry.version(str(seed))
        copies[seed] = registry.fetch(pinned)
        if seed <= 3:
            head = ledger.head()
            previous = (head.champion.version, head.champion.bundle_digest) if head.champion else None
            move = Move(action="promote", version=pinned.version, bundle_digest=pinned.bundle_digest, actor="anna",
                        reason="", identity={}, verdict={})  # fmt: skip
            entry = ledger.begin(move, head=head, previous=previous)
            tracking.set_alias(settings, alias=CHAMPION, pinned=pinned)
            ledger.finish(entry, state="committed")
        if seed == 5:
            registry.remember(pinned)
    nominate(settings, version="4")
    # The registry itself keeps three; here are more, as after a crash.
    for seed, copy in copies.items():
        if not copy.is_dir():
            copy.mkdir()
            (copy / "model.onnx").write_bytes(b"copy %d" % seed)
    return copies


def test_copies_that_an_alias_the_ledger_or_a_service_names_stay(fetched, collect):
    lines, _ = collect()
    there = {seed for seed, copy in fetched.items() if copy.is_dir()}
    assert there == {2, 3, 4, 5}
    assert "a champion of late" in lines[fetched[2].name]
    assert "the alias champion names it" in lines[fetched[3].name]
    assert "the alias challenger names it" in lines[fetched[4].name]
    assert "a service starts from it when the registry is down" in lines[fetched[5].name]
    assert lines[fetched[6].name].startswith("gone")


def test_without_an_answer_from_the_registry_every_copy_stays(settings, fetched, collect):
    lines, end = collect(settings=settings.model_copy(update={"tracking_uri": "http://127.0.0.1:9"}))
    assert all(copy.is_dir() for copy in fetched.values())
    assert "whether it is needed cannot be asked" in lines[fetched[6].name]
    assert end == "0.0 MB freed"


def test_a_copy_that_the_registry_has_lost_stays(settings, fetched, collect):
    tracking.client(settings).delete_model_version("vizecgnet", "6")
    lines, _ = collect()
    assert "this may be the only copy" in lines[fetched[6].name]
    assert fetched[6].is_dir()


def test_audit_trails_go_only_when_asked_and_only_as_whole_chains_that_nobody_writes(settings, collect):
    folder = settings.state_dir / "audit"
    done, at_work = (ChainWriter(folder, max_file_bytes=400, flush=False) for _ in range(2))
    for writer in (done, at_work):
        for number in range(10):
            writer.append({"kind": "test", "at": number})
    done.close()
    files = sorted(path.name for path in folder.glob("audit-0.*.jsonl"))
    assert len(files) > 2
    assert "go only when asked, with --audit-days" in collect()[0][files[0]]
    assert sorted(path.name for path in folder.glob("audit-0.*.jsonl")) == files
    # One file written lately keeps its whole chain: without its end nobody could tell what came before.
    soon = LATER.timestamp() - 86_400
    os.utime(folder / files[-1], (soon, soon))
    assert "kept for 90 days" in collect(audit_days=90)[0][files[0]]
    os.utime(folder / files[-1], (time.time(), time.time()))
    lines, _ = collect(audit_days=90)
    assert lines[files[0]].startswith("gone")
    assert "somebody is at work with it" in lines["audit-1.000001.jsonl"]
    assert not list(folder.glob("audit-0.*.jsonl"))
    at_work.append({"kind": "test", "at": 10})
    at_work.close()
    ((report, lines),) = verify(folder)
    assert len(list(lines)) == 11
    assert report.name == "audit-1"
