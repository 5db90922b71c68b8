"""The book of champions on a real SQLite file: nothing lost, nothing double, whoever writes."""

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from vizecg.errors import Conflict, InputError
from vizecg.promotion import ledger as ledgers
from vizecg.promotion.ledger import Ledger, Move, lineage_of, withdrawn_by

WRITERS = 8


def move(name, *, action="promote", actor="anna", **changes):
    values = {"version": name, "bundle_digest": name * 64, "reason": "because", "identity": {}, "verdict": {}}
    return Move(action=action, actor=actor, **{**values, **changes})


def carry_out(ledger, wanted):
    head = ledger.head()
    previous = (head.champion.version, head.champion.bundle_digest) if head.champion else None
    return ledger.finish(ledger.begin(wanted, head=head, previous=previous), state="committed")


@pytest.fixture
def ledger(tmp_path):
    return Ledger(f"sqlite:///{tmp_path / 'state' / 'ledger.db'}")


def test_what_is_written_is_read_back(ledger):
    written = carry_out(ledger, move("a", identity={"simulated": True}, verdict={"allowed": True}))
    assert ledger.entries() == (written,)
    assert (written.sequence, written.state, written.expected_champion) == (1, "committed", None)
    assert written.finished_at - written.created_at < timedelta(minutes=1)
    assert abs(datetime.now(UTC) - written.created_at) < timedelta(minutes=1)
    assert ledger.head().champion == written


def test_two_who_judged_the_same_champion_one_wins_and_the_other_is_told_who(ledger):
    head = ledger.head()
    ledger.begin(move("a", actor="anna"), head=head, previous=None)
    with pytest.raises(
        Conflict, match=r"promotion 1 of vizecgnet belongs to anna \(version a, pending\), who was first"
    ):
        ledger.begin(move("b", actor="bert"), head=head, previous=None)
    assert [entry.actor for entry in ledger.entries()] == ["anna"]


def test_nobody_begins_while_another_is_at_it(ledger):
    ledger.begin(move("a"), head=ledger.head(), previous=None)
    with pytest.raises(Conflict, match=r"belongs to anna \(version a, pending\)"):
        ledger.begin(move("b"), head=ledger.head(), previous=None)


def test_a_verdict_about_a_champion_of_yesterday_does_not_count(ledger):
    yesterday = ledger.head()
    carry_out(ledger, move("a"))
    with pytest.raises(Conflict, match=r"version a, committed"):
        ledger.begin(move("b"), head=yesterday, previous=None)


def test_a_refusal_is_in_the_book_and_changes_no_champion(ledger):
    first = carry_out(ledger, move("a"))
    refused = ledger.refuse(move("b"), head=ledger.head(), previous=("a", "a" * 64))
    assert ledger.head().champion == first
    assert (refused.state, refused.sequence, refused.expected_champion) == ("refused", 2, "a" * 64)
    assert ledger.head().pending is None


def test_what_was_ended_by_another_is_not_ended_again(ledger):
    entry = ledger.begin(move("a"), head=ledger.head(), previous=None)
    ledger.finish(entry, state="reverted")
    with pytest.raises(Conflict, match="promotion 1 of vizecgnet was ended by somebody else in the meantime"):
        ledger.finish(entry, state="committed")
    assert ledger.head().champion is None


def test_the_book_of_one_model_knows_nothing_of_another(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    carry_out(Ledger(url, model="first"), move("a"))
    assert Ledger(url, model="second").head().sequence == 0
    carry_out(Ledger(url, model="second"), move("b"))


def test_rolling_back_twice_goes_back_two_and_a_new_promotion_builds_on_what_is_left(ledger):
    for name in ("a", "b", "c"):
        carry_out(ledger, move(name))
    carry_out(ledger, move("b", action="rollback"))
    carry_out(ledger, move("a", action="rollback", actor="bert"))
    assert [entry.version for entry in lineage_of(ledger.entries())] == ["a"]
    assert {digest[0]: by.actor for digest, by in withdrawn_by(ledger.entries()).items()} == {"b": "bert", "c": "anna"}
    carry_out(ledger, move("c"))
    assert [entry.version for entry in lineage_of(ledger.entries())] == ["a", "c"]
    assert {digest[0] for digest in withdrawn_by(ledger.entries())} == {"b"}


def test_a_pending_row_is_abandoned_when_its_process_is_gone_and_not_before(ledger):
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=_begin_and_die, args=(str(ledger._engine.url),))
    child.start()
    child.join(60)
    assert child.exitcode == 9
    assert ledger.head().pending.abandoned
    ledger.finish(ledger.head().pending, state="reverted")
    ours = ledger.begin(move("b"), head=ledger.head(), previous=None)
    assert not ledger.head().pending.abandoned
    ledger.abandon(ours)
    assert ledger.head().pending.abandoned


def test_a_process_with_the_number_of_a_dead_one_is_not_taken_for_it(ledger, monkeypatch):
    ledger.begin(move("a"), head=ledger.head(), previous=None)
    begun = ledgers._started(os.getpid())
    monkeypatch.setattr(ledgers, "_started", lambda _: f"{int(begun) + 5000}")
    assert ledger.head().pending.abandoned


def test_a_row_of_another_machine_is_abandoned_after_its_lease(ledger, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    ledger.begin(move("a"), head=ledger.head(), previous=None)
    monkeypatch.undo()
    assert not ledger.head().pending.abandoned
    monkeypatch.setattr(ledgers, "LEASE", timedelta(0))
    assert ledger.head().pending.abandoned


@pytest.mark.parametrize("rounds", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_eight_writers_lose_nothing_and_double_nothing(tmp_path, rounds):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with ThreadPoolExecutor(WRITERS) as pool:  # each with connections of its own: the database is what decides
        told = list(pool.map(lambda number: _race(url, number, rounds=rounds), range(WRITERS)))
    entries = Ledger(url).entries()
    won = sorted(version for wins, _ in told for version in wins)
    conflicts = sum(lost for _, lost in told)
    assert len(won) == WRITERS * rounds
    assert conflicts > 0  # else they never met, and this shows nothing
    assert sorted(entry.version for entry in entries) == won
    assert [entry.sequence for entry in entries] == list(range(1, len(won) + 1))
    assert {entry.state for entry in entries} == {"committed"}
    before = None
    for entry in entries:  # everyone replaced the champion that there was
        assert entry.expected_champion == before
        before = entry.bundle_digest


def test_an_address_that_is_none_is_refused():
    with pytest.raises(InputError, match="VIZECG_LEDGER_URL is not an address of a database"):
        Ledger("ledger.db")


def test_a_file_that_is_no_database_is_named_and_a_password_is_not(tmp_path):
    (tmp_path / "ledger.db").write_text("this is not a database, whatever its name says" * 100)
    with pytest.raises(InputError, match=r"the ledger at sqlite:.*ledger\.db cannot be used: file is not a database"):
        Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


def _begin_and_die(url):
    ledger = Ledger(url)
    ledger.begin(move("a"), head=ledger.head(), previous=None)
    os._exit(9)


def _race(url, number, *, rounds):
    """Win so often; how often another was first."""
    ledger, wins, lost = Ledger(url), [], 0
    while len(wins) < rounds:
        version = f"{number}-{len(wins)}"
        try:
            carry_out(ledger, move(version, bundle_digest=version.ljust(64, "0")))
            wins.append(version)
        except Conflict:
            lost += 1
    return wins, lost
