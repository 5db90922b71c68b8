"""The doctor over a real registry and a real ledger: what it says, what it mends, and that it is not fooled."""

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from vizecg import doctor, tracking
from vizecg.environment import house_environment
from vizecg.promotion import Ledger, history, look_at_champion, put_back
from vizecg.promotion.ledger import Move
from vizecg.settings import CHAMPION
from vizecg.tracking import ensure_registered

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow 3.17 under SQLAlchemy 2.1


def found(settings, **options):
    return {finding.about: finding for finding in doctor.examine(settings, **options)}


@pytest.fixture
def register(settings, make_bundle):
    def one(seed):
        ensure_registered(make_bundle(f"{seed}", seed=seed), settings=settings)
        return tracking.all_versions(settings)[0]

    return one


def begin(settings, version):
    ledger = Ledger(settings.ledger_url)
    head = ledger.head()
    previous = (head.champion.version, head.champion.bundle_digest) if head.champion else None
    digest = version.tags["bundle_digest"]
    move = Move(action="promote", version=version.version, bundle_digest=digest, actor="anna", reason="", identity={},
                verdict={})  # fmt: skip
    return ledger, ledger.begin(move, head=head, previous=previous)


def pin(settings, version):
    from vizecg.registry import Registry

    tracking.set_alias(settings, alias=CHAMPION, pinned=Registry(settings).version(version.version))


def promoted(settings, version):
    ledger, entry = begin(settings, version)
    pin(settings, version)
    ledger.finish(entry, state="committed")


def test_an_embedded_default_is_well(settings):
    findings = found(settings)
    assert [name for name, finding in findings.items() if not finding.well and name not in ("versions", "disk")] == []
    assert findings["champion"].said == "none yet; `vizecg promote`"


@pytest.mark.parametrize(("moved", "state"), [(True, "committed"), (False, "reverted")])
def test_a_promotion_that_was_cut_off_is_finished_or_reverted(settings, register, moved, state):
    version = register(0)
    ledger, entry = begin(settings, version)
    if moved:
        pin(settings, version)
    assert "anna is making version 1 the champion right now" in found(settings)["promotions"].said
    ledger.abandon(entry)
    assert found(settings)["promotions"].said == f"promotion 1 by anna was cut off; it is {state} now"
    assert [entry.state for entry in history(settings)] == [state]
    assert found(settings)["promotions"].said == "none was cut off"


def test_a_version_that_waits_for_a_person_is_told_with_what_to_type(settings, register):
    version = register(0)
    ledger = Ledger(settings.ledger_url)
    digest = version.tags["bundle_digest"]
    move = Move(action="promote", version="1", bundle_digest=digest, actor="anna", reason="", identity={}, verdict={})
    ledger.wait(move, head=ledger.head(), previous=None)
    told = found(settings)["promotions"]
    assert told.well
    assert told.said.endswith("and waits for a person: `vizecg approve 1 --reason …`")


def test_what_waits_is_told_until_another_champion_comes_or_the_bundle_is_judged_again(settings, register):
    first, second, third = register(0), register(1), register(2)
    ledger = Ledger(settings.ledger_url)

    def note(down, version, *, champion):
        digest = version.tags["bundle_digest"]
        move = Move(action="promote", version=version.version, bundle_digest=digest, actor="anna", reason="",
                    identity={}, verdict={})  # fmt: skip
        down(move, head=ledger.head(), previous=champion and (champion.version, champion.tags["bundle_digest"]))

    def told():
        return [word for word in found(settings)["promotions"].said.split() if word.isdigit()]

    note(ledger.wait, first, champion=None)
    note(ledger.refuse, second, champion=None)
    assert told() == ["1", "1"], "the last row is of another version"
    note(ledger.wait, second, champion=None)
    assert told() == ["1", "1", "2", "2"]
    note(ledger.refuse, second, champion=None)
    assert told() == ["1", "1"]
    promoted(settings, third)
    assert found(settings)["promotions"].said == "none was cut off"
    note(ledger.wait, second, champion=third)
    assert told() == ["2", "2"]


def test_an_alias_that_is_being_moved_was_moved_by_nobodys_hand(settings, register):
    promoted(settings, register(0))
    second = register(1)
    ledger, entry = begin(settings, second)
    pin(settings, second)  # and the process has yet to say so in the ledger
    told = found(settings, put_alias_back=True)["champion"]
    assert told.well
    assert told.said == "anna is making version 2 the champion right now; look again in five minutes"
    assert put_back(settings) is None
    assert tracking.aliased(settings, alias=CHAMPION).version == "2"
    ledger.finish(entry, state="committed")
    assert found(settings)["champion"].said == "vizecgnet@champion is version 2, as the ledger says"


def test_an_alias_that_is_moved_while_it_is_looked_at_was_moved_by_nobodys_hand(settings, register, monkeypatch):
    promoted(settings, register(0))
    second, aliased = register(1), tracking.aliased

    def moved_meanwhile(settings, *, alias):
        monkeypatch.setattr(tracking, "aliased", aliased)
        promoted(settings, second)
        return aliased(settings, alias=alias)

    monkeypatch.setattr(tracking, "aliased", moved_meanwhile)
    assert look_at_champion(settings, put_it_back=False).sentence == (
        "vizecgnet@champion is version 2, as the ledger says"
    )


def test_an_alias_that_was_moved_by_hand_is_told_and_put_back_only_when_asked(settings, register):
    promoted(settings, register(0))
    assert found(settings)["champion"].said == "vizecgnet@champion is version 1, as the ledger says"
    pin(settings, register(1))
    told = found(settings)["champion"]
    assert not told.well
    assert told.said.startswith(
        "vizecgnet@champion is version 2, the ledger says version 1: `vizecg doctor --put-back`"
    )
    assert found(settings, put_alias_back=True)["champion"].said.endswith("the ledger says version 1: put back")
    assert found(settings)["champion"].well


def test_servers_that_do_not_answer_are_told_each_and_what_hangs_on_them_is_not_asked(settings, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("PREFECT_API_URL", "http://anna:geheim@127.0.0.1:9/api")
    ledger = "postgresql+pg8000://vizecg:geheim@127.0.0.1:9/ledger"
    down = settings.model_copy(update={"tracking_uri": "http://127.0.0.1:9", "ledger_url": ledger})
    findings = found(down)
    for name, advice in (
        ("MLflow", "VIZECG_TRACKING_URI"),
        ("ledger", "VIZECG_LEDGER_URL"),
        ("store", "start it"),
        ("Prefect", "set PREFECT_API_URL to one that does"),
    ):
        assert not findings[name].well
        assert advice in findings[name].said
    assert not {"promotions", "champion"} & set(findings)
    assert "geheim" not in str(findings)


def test_addresses_that_are_none_are_told_and_not_quoted(settings, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "s3:8333")
    ledger = "postgresql+pg8000://vizecg@host:geheim/ledger"
    findings = found(settings.model_copy(update={"ledger_url": ledger}))
    assert not findings["store"].well
    assert findings["store"].said.startswith("s3:8333 is no address such as https://HOST:PORT; see AWS_ENDPOINT_URL_S3")
    assert not findings["ledger"].well
    assert findings["ledger"].said == "VIZECG_LEDGER_URL is not an address of a database: its port is no number"


def test_a_setting_that_is_not_allowed_is_a_finding(monkeypatch, capsys):
    monkeypatch.setenv("VIZECG_PATIENCE_S", "-1")
    assert doctor.examine_and_show(put_alias_back=False) == 1
    said = "BAD  settings: VIZECG_PATIENCE_S is '-1': input should be greater than or equal to 0"
    assert capsys.readouterr().out.splitlines() == [said, "1 thing is not well"]


def test_a_store_that_refuses_the_keys_is_told_apart(settings, s3_server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
    assert found(settings)["store"].well
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
    told = found(settings)["store"]
    assert not told.well
    assert "refuses the keys (SignatureDoesNotMatch)" in told.said


def test_a_full_disk_and_other_versions_are_told(settings, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9e9, 8e9, 1e9))
    assert "1.0 GB free" in found(settings)["disk"].said
    assert not found(settings)["disk"].well
    assert "`vizecg gc` failed runs" in found(settings)["disk"].said
    (tmp_path / "constraints.txt").write_text("# comment\nnumpy==1.0\nnot-there==1.0\n")
    told = doctor._versions(tmp_path / "constraints.txt")
    assert not told.well
    assert told.said.startswith("1 packages are not as in constraints.txt (numpy ")


def test_the_command_says_all_of_it_and_ends_with_1_when_something_is_wrong(settings, tmp_path):
    ledger = tmp_path / "no-database"
    ledger.write_text("this is not a database" * 100)
    broken = settings.model_copy(update={"ledger_url": f"sqlite:///{ledger}"})
    environment = house_environment(broken) | {"PATH": "/usr/bin", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "vizecg", "doctor"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "BAD  ledger: the ledger at sqlite" in done.stdout
    assert "not well" in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stderr
