"""What the demo decides before and after its pipeline; the pipeline itself is in test_pipeline."""

import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from vizecg import demo, promotion
from vizecg.answer import Label
from vizecg.publish import locked
from vizecg.settings import Settings

ROOT = Path(__file__).parent.parent
NOW = datetime(2026, 1, 2, tzinfo=UTC)
CHAMPION = SimpleNamespace(state="committed", created_at=NOW - timedelta(days=1))
REFUSED_NOW = SimpleNamespace(state="refused", created_at=NOW + timedelta(minutes=4))
REFUSED_BEFORE = SimpleNamespace(state="refused", created_at=NOW - timedelta(minutes=4))


@pytest.mark.parametrize(
    ("code", "entries", "goes_on"),
    [
        pytest.param(3, [CHAMPION, REFUSED_NOW], True, id="a-gate-kept-the-champion"),
        pytest.param(3, [REFUSED_NOW], False, id="nobody-is-champion-yet"),
        pytest.param(3, [CHAMPION, REFUSED_BEFORE], False, id="the-data-were-refused-not-the-model"),
        pytest.param(3, [CHAMPION], False, id="the-data-were-refused-beside-a-champion"),
        pytest.param(3, [], False, id="the-data-were-refused-at-first"),
        pytest.param(2, [CHAMPION, REFUSED_NOW], False, id="the-pipeline-failed"),
    ],
)
def test_only_a_gates_no_beside_a_champion_goes_on_to_serve(monkeypatch, tmp_path, code, entries, goes_on):
    monkeypatch.setattr(promotion, "history", lambda _: tuple(entries))
    servers = SimpleNamespace(since=NOW, mlflow=SimpleNamespace(url="http://127.0.0.1:9"))
    said = demo._champion_can_answer(code, servers=servers, settings=Settings(state_dir=tmp_path))
    assert said is goes_on


def label(code, *, probability, positive=False):
    return Label(code=code, name=code, probability=probability, threshold=0.5, positive=positive)


def test_of_many_labels_the_positive_and_the_likeliest_are_shown_in_order():
    labels = [label(f"C{k}", probability=k / 100) for k in range(71)]
    labels[3] = label("C3", probability=0.03, positive=True)
    shown = [one.code for one in demo._worth_showing(labels)]
    assert shown == ["C3", *(f"C{k}" for k in range(61, 71))]
    assert demo._worth_showing(labels[:5]) == labels[:5]


def test_no_copy_is_made_of_a_page_that_came_on_paper(tmp_path):
    record_set = SimpleNamespace(has_signal=[False], upload=lambda _: b"a patient's page")
    assert demo._page_of(record_set, 0, page=tmp_path / "page.png") == b"a patient's page"
    assert list(tmp_path.iterdir()) == []


def test_a_second_demo_beside_the_first_is_refused(tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    command = [sys.executable, "-m", "vizecg", "demo", "--exit"]
    with locked(tmp_path / ".state" / "demo"):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "demo is being written by another run (process" in done.stderr
    assert "Traceback" not in done.stderr
