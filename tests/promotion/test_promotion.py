"""Promotion and rollback over a real registry and a real ledger, and every place where a process can die."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from vizecg import bundle as bundles
from vizecg import publish, tracking
from vizecg.errors import Conflict, InputError
from vizecg.gates import Candidate, Evidence, Params
from vizecg.labels import TASKS
from vizecg.promotion import (
    Ledger,
    approve,
    finish_interrupted,
    history,
    list_versions,
    nominate,
    promote,
    put_back,
    rollback,
)
from vizecg.promotion.ledger import Move
from vizecg.promotion.tables import history_table, versions_table
from vizecg.registry import QUICK_FAILURE, BrokenVersion, NoSuchVersion, Registry, RegistryUnavailable
from vizecg.settings import CHALLENGER, CHAMPION, Settings
from vizecg.tracking import ensure_registered

CODES = TASKS["superdiagnostic"].codes

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy",  # MLflow 3.17 under SQLAlchemy 2.1
)

PARAMS = Params(
    macro_auroc_floor=0.7,
    macro_auroc_margin=0.05,
    class_auroc_margin=0.1,
    calibration_error_ceiling=0.3,
    minimum_records=100,
    minimum_positives=20,
    resamples=100,
    seed=0,
)


class Jury:
    """Evidence as the predictor would gather it, with the skill we say a bundle has."""

    def __init__(self, **skill_of_bundle: float) -> None:
        self.skill = skill_of_bundle
        self.task = "superdiagnostic"
        self.asked: list[tuple[Path, Path | None]] = []
        self.meanwhile = lambda: None

    def __call__(self, challenger: Path, champion: Path | None) -> Evidence:
        self.asked.append((challenger, champion))
        self.meanwhile()
        labels = np.random.default_rng(1).random((200, len(CODES))) < 0.3
        return Evidence(
            labels=labels,
            patient_ids=np.arange(200),
            challenger=self._says(challenger, labels),
            champion=self._says(champion, labels) if champion else None,
        )

    def _says(self, folder: Path, labels: np.ndarray) -> Candidate:
        digest, contract = bundles.read(folder)
        noise = np.random.default_rng(int(digest[:8], 16)).random(labels.shape)
        skill = self.skill.get(digest, 0.8)
        return Candidate(
            bundle_digest=digest,
            task=self.task,
            classes=CODES,
            simulated=contract.simulated,
            probabilities=skill * (0.15 + 0.7 * labels) + (1 - skill) * noise,
        )


def digest_of(bundle):
    return publish.read_manifest(bundle, kind="bundle", schema_version=1).digest


def champion_of(settings):
    pinned = tracking.aliased(settings, alias=CHAMPION)
    return pinned.version if pinned else None


def states(settings):
    return [(entry.action, entry.version, entry.state) for entry in history(settings)]


@pytest.fixture
def registered(settings, make_bundle):
    """Register bundles by their seeds: versions 1, 2, … in this order."""

    def register(*seeds, **content):
        made = [make_bundle(f"bundle-{seed}", seed=seed, **content) for seed in seeds]
        for bundle in made:
            ensure_registered(bundle, settings=settings)
        return made

    return register


def please(settings, jury=None, **changes):
    return promote(settings, **{"gather": jury or Jury(), "params": PARAMS, "actor": "anna", **changes})


def test_the_first_model_that_reaches_the_floors_is_champion(settings, registered):
    (bundle,) = registered(0)
    jury = Jury()
    outcome = please(settings, jury, reason="first one")
    assert (outcome.state, outcome.version, outcome.previous_version, outcome.exit_code) == ("committed", "1", None, 0)
    assert outcome.sentence == "vizecgnet version 1 is champion now"
    assert champion_of(settings) == "1"
    assert jury.asked[0][1] is None
    (entry,) = history(settings)
    assert (entry.actor, entry.reason, entry.state, entry.bundle_digest) == (
        "anna", "first one", "committed", digest_of(bundle)
    )  # fmt: skip
    assert entry.verdict["allowed"] is True
    assert tracking.aliased(settings, alias=CHALLENGER) is None  # it is what it was nominated for


def test_the_next_one_is_held_against_the_champion_on_the_same_pages(settings, registered):
    first, second = registered(0, 1)
    please(settings, version="1")
    jury = Jury()
    outcome = please(settings, jury)
    assert outcome.sentence == "vizecgnet version 2 is champion now instead of version 1"
    assert [digest_of(folder) for folder in jury.asked[0]] == [digest_of(second), digest_of(first)]
    assert history(settings)[-1].expected_champion == digest_of(first)


def test_a_worse_one_is_refused_with_exit_code_3_and_everything_stays(settings, registered):
    _, second = registered(0, 1)
    please(settings, version="1")
    outcome = please(settings, Jury(**{digest_of(second): 0.35}))
    assert (outcome.state, outcome.exit_code) == ("refused", 3)
    assert outcome.sentence.startswith("vizecgnet version 2 was refused: macro AUROC 0.")
    assert champion_of(settings) == "1"
    assert states(settings) == [("promote", "1", "committed"), ("promote", "2", "refused")]
    assert history(settings)[-1].verdict["allowed"] is False
    assert tracking.aliased(settings, alias=CHALLENGER).version == "2"


def test_a_first_model_below_the_floor_is_no_champion(settings, registered):
    (bundle,) = registered(0)
    outcome = please(settings, Jury(**{digest_of(bundle): 0.0}))
    assert outcome.state == "refused"
    assert champion_of(settings) is None


def test_promoting_the_champion_again_does_nothing_and_asks_no_model(settings, registered):
    registered(0)
    please(settings)
    jury = Jury()
    outcome = please(settings, jury)
    assert (outcome.state, outcome.exit_code) == ("already champion", 0)
    assert outcome.sentence == "vizecgnet version 1 is already champion"
    assert outcome.verdict.already_champion
    assert jury.asked == []
    assert len(history(settings)) == 1


def test_a_simulated_model_never_replaces_a_real_one(settings, registered):
    registered(0, simulated=False)
    please(settings)
    registered(1, simulated=True)
    outcome = please(settings)
    assert [row.gate for row in outcome.verdict.refusals] == ["provenance"]
    assert champion_of(settings) == "1"


def test_without_any_version_there_is_nothing_to_promote(settings):
    with pytest.raises(NoSuchVersion, match=r"has no version of vizecgnet; register one first"):
        please(settings)


@pytest.mark.parametrize("version", ["99", "latest"])
def test_a_version_that_is_not_there_is_named(settings, registered, version):
    registered(0)
    with pytest.raises(InputError, match=rf"vizecgnet version {version}; `vizecg models` lists what there is"):
        please(settings, version=version)


def test_a_challenger_whose_files_were_damaged_is_not_judged(settings, registered):
    registered(0)
    (stored,) = settings.artifact_root.rglob("model-*/bundle/model.onnx")
    stored.write_bytes(stored.read_bytes()[:-1])
    jury = Jury()
    with pytest.raises(BrokenVersion, match="version 1 is not usable"):
        please(settings, jury)
    assert jury.asked == []
    assert history(settings) == ()


@pytest.fixture
def store_is_away(settings, monkeypatch):
    """Files of a version lie where nobody answers, and this machine has no copy."""
    for name, value in {**QUICK_FAILURE, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}.items():
        monkeypatch.setenv(name, value)

    def move(version):
        shutil.rmtree(settings.cache_dir)
        with closing(sqlite3.connect(settings.state_dir / "mlflow.db")) as database, database:
            away = ("mlflow-artifacts://127.0.0.1:9/files", version)
            database.execute("UPDATE model_versions SET source = ?, storage_location = NULL WHERE version = ?", away)

    return move


def test_while_the_champions_files_cannot_be_had_nobody_is_held_against_nothing(settings, registered, store_is_away):
    registered(0, 1)
    please(settings, version="1")
    store_is_away("1")
    jury = Jury()
    with pytest.raises(RegistryUnavailable, match=r"the files of vizecgnet version 1 cannot be had from .* now"):
        please(settings, jury)
    assert jury.asked == []
    assert states(settings) == [("promote", "1", "committed")]


def test_a_rollback_passes_over_no_champion_whose_files_are_only_away(settings, registered, store_is_away):
    registered(0, 1, 2)
    for version in ("1", "2", "3"):
        please(settings, version=version)
    store_is_away("2")
    with pytest.raises(RegistryUnavailable, match=r"the files of vizecgnet version 2 cannot be had from .* now"):
        rollback(settings, actor="anna", reason="alarms at night")
    assert champion_of(settings) == "3"
    assert len(history(settings)) == 3


def test_who_judged_an_old_champion_gets_a_conflict_and_changes_nothing(settings, registered):
    registered(0, 1, 2)
    please(settings, version="1")
    slow = Jury()
    slow.meanwhile = lambda: please(settings, version="2", actor="bert")
    with pytest.raises(
        Conflict, match=r"promotion 2 of vizecgnet belongs to bert \(version 2, committed\), who was first"
    ):
        please(settings, slow, version="3")
    assert champion_of(settings) == "2"
    assert states(settings) == [("promote", "1", "committed"), ("promote", "2", "committed")]


def test_while_somebody_is_at_it_others_are_told(settings, registered):
    registered(0, 1)
    ledger = Ledger(settings.ledger_url)
    please(settings, version="1")
    entry = history(settings)[0]
    busy = Move(action="promote", version="2", bundle_digest="f" * 64, actor="bert", reason="", identity={}, verdict={})
    ledger.begin(busy, head=ledger.head(), previous=(entry.version, entry.bundle_digest))
    for action in (lambda: please(settings), lambda: rollback(settings, actor="anna", reason="x")):
        with pytest.raises(Conflict, match="bert is making version 2 the champion right now"):
            action()


def test_rollback_goes_to_the_champion_before_and_is_in_the_book(settings, registered):
    registered(0, 1)
    please(settings, version="1")
    please(settings, version="2")
    outcome = rollback(settings, actor="bert", reason="alarms at night")
    assert outcome.sentence == "vizecgnet version 1 is champion now instead of version 2"
    assert champion_of(settings) == "1"
    entry = history(settings)[-1]
    assert (entry.action, entry.version, entry.previous_version, entry.actor, entry.reason, entry.state) == (
        "rollback", "1", "2", "bert", "alarms at night", "committed"
    )  # fmt: skip


def test_what_was_rolled_back_comes_back_only_by_its_number(settings, registered):
    registered(0, 1)
    please(settings, version="1")
    please(settings, version="2")
    rollback(settings, actor="bert", reason="alarms at night")
    outcome = please(settings)
    assert [row.gate for row in outcome.verdict.refusals] == ["withdrawn"]
    assert "version 2 was rolled back by bert on 20" in outcome.sentence
    assert "(alarms at night)" in outcome.sentence
    assert please(settings, version="2", automatic=True).state == "refused"
    assert please(settings, version="2").state == "committed"


def test_rollback_passes_over_a_champion_whose_files_are_damaged(settings, registered):
    bundles = registered(0, 1, 2)
    for version in ("1", "2", "3"):
        please(settings, version=version)
    second = tracking.find_version(settings, digest=digest_of(bundles[1]))
    Path(second.source.removeprefix("file://"), "bundle", "model.onnx").unlink()
    copy = settings.cache_dir / "bundles" / digest_of(bundles[1]) / "model.onnx"
    copy.write_bytes(b"torn")
    outcome = rollback(settings, actor="anna", reason="x")
    assert (outcome.version, champion_of(settings)) == ("1", "1")
    assert outcome.notes[0].startswith("version 2 was passed over: vizecgnet version 2 is not usable")


def test_there_is_no_rolling_back_before_the_first_champion(settings, registered):
    with pytest.raises(InputError, match="vizecgnet has no champion yet, so there is nothing to roll back"):
        rollback(settings, actor="anna", reason="x")
    registered(0)
    please(settings)
    with pytest.raises(InputError, match="vizecgnet has no champion before version 1 to go back to"):
        rollback(settings, actor="anna", reason="x")
    assert len(history(settings)) == 1


def test_an_alias_from_before_the_ledger_is_the_champion_and_can_be_gone_back_to(settings, registered):
    first, _ = registered(0, 1)
    nominee = nominate(settings, version="1")
    tracking.set_alias(settings, alias=CHAMPION, pinned=nominee)
    jury = Jury()
    please(settings, jury, version="2")
    assert digest_of(jury.asked[0][1]) == digest_of(first)
    assert rollback(settings, actor="anna", reason="x").version == "1"


def test_an_alias_moved_by_hand_is_said_and_not_overrun(settings, registered):
    registered(0, 1, 2)
    please(settings, version="1")
    please(settings, version="2")
    tracking.client(settings).set_registered_model_alias("vizecgnet", CHAMPION, "1")
    with pytest.raises(Conflict, match=r"champion is version 1, the ledger says version 2: somebody moved it by hand"):
        please(settings, version="3")
    assert put_back(settings) == "vizecgnet@champion was version 1, the ledger says version 2: put back"
    assert put_back(settings) is None
    assert champion_of(settings) == "2"


def test_a_registry_that_was_wiped_and_filled_again_gets_its_champion_back(settings, registered):
    first, second = registered(0, 1)
    please(settings, version="2")
    tracking.client(settings).delete_registered_model("vizecgnet")
    ensure_registered(second, settings=settings)  # version 1 now
    outcome = please(settings)
    assert (outcome.state, outcome.version) == ("already champion", "1")
    assert outcome.notes == ("vizecgnet@champion was not set, the ledger says version 1: put back",)
    assert champion_of(settings) == "1"
    ensure_registered(first, settings=settings)
    assert please(settings).previous_version == "1"


def test_a_champion_whose_files_are_gone_still_keeps_simulated_models_out(settings, registered):
    registered(0, simulated=False)
    please(settings)
    tracking.client(settings).delete_registered_model("vizecgnet")
    registered(1, simulated=True)
    outcome = please(settings)
    assert [row.gate for row in outcome.verdict.refusals] == ["provenance"]
    assert outcome.notes[0].startswith("the registry has no version of the champion, bundle")
    registered(2, simulated=False)
    assert please(settings).state == "committed"


def test_a_champion_whose_files_are_gone_still_keeps_other_tasks_out(settings, registered):
    registered(0)
    please(settings)
    tracking.client(settings).delete_registered_model("vizecgnet")
    registered(1)
    jury = Jury()
    jury.task = "subdiagnostic"
    outcome = please(settings, jury)
    assert [row.gate for row in outcome.verdict.refusals] == ["classes"]
    assert "HYP (subdiagnostic), the champion NORM MI STTC CD HYP (superdiagnostic)" in outcome.sentence
    assert please(settings).state == "committed"


def test_nominate_points_the_challenger_at_a_version_that_is_whole(settings, registered):
    registered(0)
    nominate(settings, version="1")
    assert tracking.aliased(settings, alias=CHALLENGER).version == "1"
    assert champion_of(settings) is None
    assert history(settings) == ()


def test_an_override_goes_against_the_gates_and_is_in_the_book_with_who_and_why(settings, registered):
    _, second = registered(0, 1)
    please(settings, version="1")
    jury = Jury(**{digest_of(second): 0.35})
    outcome = please(settings, jury, override=True, actor="bert", reason="the old one mistakes pacemakers")
    assert (outcome.state, outcome.exit_code, champion_of(settings)) == ("committed", 0, "2")
    assert "champion now instead of version 1, let through by a person against" in outcome.sentence
    entry = history(settings)[-1]
    assert (entry.actor, entry.reason, entry.state) == ("bert", "the old one mistakes pacemakers", "committed")
    assert entry.verdict["overridden"] is True
    assert "fail" in [row["result"] for row in entry.verdict["rows"]]
    shown = Console(width=160, record=True, file=(settings.state_dir / "table").open("w"))
    with shown.file:
        shown.print(history_table(history(settings)))
    assert "promote (override)" in shown.export_text()


def test_an_override_needs_a_reason_and_asks_no_model_without(settings, registered):
    registered(0)
    jury = Jury()
    with pytest.raises(InputError, match=r"an override goes against the gates, so it needs a reason"):
        please(settings, jury, override=True, reason=" ")
    assert (jury.asked, history(settings)) == ([], ())


def test_no_override_lets_a_simulated_model_replace_a_real_one(settings, registered):
    registered(0, simulated=False)
    please(settings)
    registered(1, simulated=True)
    outcome = please(settings, override=True, reason="for the demo")
    assert (outcome.state, champion_of(settings)) == ("refused", "1")


APPROVED = PARAMS.model_copy(update={"approval": True})


def test_what_waits_for_a_person_is_champion_only_when_one_has_approved(settings, registered):
    registered(0, 1)
    please(settings, version="1")
    outcome = please(settings, params=APPROVED, automatic=True, reason="retrain")
    assert (outcome.state, outcome.exit_code) == ("waiting", 0)
    assert outcome.sentence.endswith("passed the gates and waits for a person: `vizecg approve 2 --reason …`")
    assert champion_of(settings) == "1"
    assert tracking.aliased(settings, alias=CHALLENGER).version == "2"
    done = approve(settings, version="2", actor="bert", reason="looked at its mistakes")
    assert done.sentence == "vizecgnet version 2 is champion now instead of version 1"
    assert champion_of(settings) == "2"
    *_, waited, entry = history(settings)
    assert (waited.actor, waited.state) == ("anna", "waiting")
    assert (entry.actor, entry.reason, entry.state) == ("bert", "looked at its mistakes", "committed")
    assert entry.verdict["approved"] == {"promotion": waited.sequence, "asked_by": "anna"}
    assert rollback(settings, actor="anna", reason="x").version == "1"


def test_a_schedule_asks_a_person_once_and_a_person_may_have_it_judged_again(settings, registered):
    registered(0, 1)
    please(settings, version="1")
    asked = please(settings, params=APPROVED, automatic=True, reason="retrain")
    again = please(settings, params=APPROVED, automatic=True, reason="retrain")
    assert (again.state, again.sequence) == ("waiting", asked.sequence)
    assert again.notes[-1].startswith("it has waited since ")
    assert len(history(settings)) == 2
    please(settings, version="2", params=APPROVED, reason="the gates were changed")
    assert [entry.state for entry in history(settings)] == ["committed", "waiting", "waiting"]
    done = please(settings, params=PARAMS, automatic=True, reason="retrain")  # nobody has to approve any more
    assert (done.state, champion_of(settings)) == ("committed", "2")


def test_only_what_waits_can_be_approved_and_only_against_the_champion_it_was_held_against(settings, registered):
    _, second, _ = registered(0, 1, 2)
    please(settings, version="1")
    with pytest.raises(InputError, match=r"vizecgnet version 2 waits for nobody; see `vizecg models history`"):
        approve(settings, version="2", actor="bert", reason="x")
    please(settings, version="2", params=APPROVED)
    please(settings, version="3")
    with pytest.raises(
        Conflict, match=r"version 2 was held against version 1, and version 3 is champion now; hold it against"
    ):
        approve(settings, version="2", actor="bert", reason="x")
    please(settings, Jury(**{digest_of(second): 0.0}), version="2")
    with pytest.raises(InputError, match="version 2 waits for nobody"):  # judged again, and refused
        approve(settings, version="2", actor="bert", reason="x")
    assert champion_of(settings) == "3"


def test_an_override_waits_for_no_second_person_and_a_refusal_for_none(settings, registered):
    first, second = registered(0, 1)
    jury = Jury(**{digest_of(first): 0.0, digest_of(second): 0.0})
    assert please(settings, jury, version="1", params=APPROVED).state == "refused"
    outcome = please(settings, jury, version="1", params=APPROVED, override=True, reason="x")
    assert (outcome.state, champion_of(settings)) == ("committed", "1")


def test_the_gates_table_is_kept_with_the_run_of_the_version(settings, registered):
    registered(0, 1)
    for version in ("1", "2"):
        please(settings, version=version)
    run = Registry(settings).version("2").run_id
    client = tracking.client(settings)
    assert [entry.path for entry in client.list_artifacts(run, "gates")] == [
        "gates/promotion-2.json", "gates/promotion-2.md"
    ]  # fmt: skip
    kept = Path(client.download_artifacts(run, "gates", str(settings.state_dir)))
    assert json.loads((kept / "promotion-2.json").read_text()) == history(settings)[1].verdict
    assert "| macro AUROC vs champion |" in (kept / "promotion-2.md").read_text()


def test_a_store_that_takes_no_table_costs_the_promotion_nothing(settings, registered, monkeypatch):
    registered(0)

    def refuse(*_, **__):
        raise tracking.TrackingUnavailable("MLflow does not answer")

    monkeypatch.setattr(tracking, "attach", refuse)
    outcome = please(settings)
    assert (outcome.state, champion_of(settings)) == ("committed", "1")
    assert outcome.notes == ("the gates' table is in the ledger alone: MLflow does not answer",)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from vizecg import tracking
from vizecg.promotion import ledger, moves
from vizecg.settings import CHAMPION, Settings
import test_promotion as tests

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

set_alias = tracking.set_alias
def before(settings, *, alias, pinned):
    die() if alias == CHAMPION else set_alias(settings, alias=alias, pinned=pinned)

if {where!r} == "before the alias":
    tracking.set_alias = before
else:
    ledger.Ledger.finish = die
settings = Settings(state_dir=Path({state!r}))
if {action!r} == "promote":
    tests.please(settings, version="2", actor="the dead one")
else:
    moves.rollback(settings, actor="the dead one", reason="x")
"""


def killed(settings, *, where, action="promote"):
    script = KILLED.format(
        tests=str(Path(__file__).parent), where=where, state=str(settings.state_dir), action=action
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_killed_before_the_alias_was_moved_nothing_has_happened(settings, registered):
    registered(0, 1)
    please(settings, version="1")
    killed(settings, where="before the alias")
    assert states(settings)[-1] == ("promote", "2", "pending")
    assert champion_of(settings) == "1"
    ended = finish_interrupted(settings)
    assert (ended.state, ended.actor) == ("reverted", "the dead one")
    assert finish_interrupted(settings) is None
    assert please(settings, version="2").state == "committed"
    assert states(settings) == [
        ("promote", "1", "committed"),
        ("promote", "2", "reverted"),
        ("promote", "2", "committed"),
    ]


def test_killed_after_the_alias_was_moved_it_has_happened(settings, registered):
    registered(0, 1)
    please(settings, version="1")
    killed(settings, where="before the commit")
    assert states(settings)[-1] == ("promote", "2", "pending")
    assert champion_of(settings) == "2"
    assert please(settings, version="2").state == "already champion"  # it ends what was cut off first
    assert states(settings) == [("promote", "1", "committed"), ("promote", "2", "committed")]


def test_a_rollback_that_was_killed_is_ended_by_the_next(settings, registered):
    registered(0, 1)
    please(settings, version="1")
    please(settings, version="2")
    killed(settings, where="before the alias", action="rollback")
    assert champion_of(settings) == "2"
    assert rollback(settings, actor="anna", reason="x").version == "1"
    assert [state for *_, state in states(settings)] == ["committed", "committed", "reverted", "committed"]


def test_mlflow_away_at_the_wrong_moment_leaves_a_row_that_the_next_one_ends(settings, registered, monkeypatch):
    registered(0, 1)
    please(settings, version="1")
    set_alias = tracking.set_alias

    def refuse(settings, *, alias, pinned):
        if alias == CHAMPION:
            raise tracking.TrackingUnavailable("MLflow does not answer")
        set_alias(settings, alias=alias, pinned=pinned)

    monkeypatch.setattr(tracking, "set_alias", refuse)
    with pytest.raises(InputError, match="MLflow does not answer"):
        please(settings, version="2")
    monkeypatch.undo()
    assert states(settings)[-1] == ("promote", "2", "pending")
    assert please(settings, version="2").state == "committed"
    assert states(settings)[1:] == [("promote", "2", "reverted"), ("promote", "2", "committed")]


def test_an_alias_that_did_not_move_is_not_called_moved(settings, registered, monkeypatch):
    from mlflow import MlflowClient

    registered(0, 1)
    please(settings, version="1")
    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", lambda *_: None)
    with pytest.raises(InputError, match=r"was told that vizecgnet@challenger is version 2 and says it is none"):
        please(settings, version="2")
    assert champion_of(settings) == "1"


def test_versions_are_listed_with_what_one_needs_to_choose(settings, registered):
    registered(0, 1)
    please(settings, version="1")
    newest, oldest = list_versions(settings)
    assert (newest.version, newest.aliases) == ("2", ())
    assert (oldest.version, oldest.aliases) == ("1", (CHAMPION,))
    assert (oldest.macro_auroc, oldest.macro_auroc_low, oldest.macro_auroc_high) == (0.9, 0.85, 0.94)
    assert oldest.simulated is True
    shown = Console(width=140, record=True, file=(settings.state_dir / "table").open("w"))
    with shown.file:
        shown.print(versions_table([newest, oldest]))
        shown.print(history_table(history(settings)))
        text = shown.export_text()
    assert "0.900 (0.850–0.940)" in text
    assert oldest.bundle_digest[:12] in text
    assert "committed" in text


def test_an_empty_registry_has_no_versions(settings):
    assert list_versions(settings) == ()


def test_mlflow_down_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = Settings(state_dir=tmp_path, tracking_uri="http://127.0.0.1:9")
    for action in (
        lambda: list_versions(settings),
        lambda: please(settings),
        lambda: nominate(settings, version="1"),
    ):
        with pytest.raises(InputError, match=r"at http://127.0.0.1:9 does not answer; start it"):
            action()
