"""Every expectation can fail, what must hold stops the pipeline, and the report reads without us."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from vizecg.errors import GateRefused, InputError
from vizecg.intake import CanonicalSpec
from vizecg.labels import TASKS
from vizecg.pages import PAGE_SET, DrawnPage, PageRecipe, write_pages
from vizecg.pages import SCHEMA_VERSION as PAGES_VERSION
from vizecg.publish import publishing, read_manifest
from vizecg.records import Age, Provenance, Reason, Record, read_record_set, writing_record_set
from vizecg.steps.validate import SCHEMA_VERSION, VALIDATION, Params, run
from vizecg.validation.baseline import Change, Comparison, write_baseline
from vizecg.validation.check import Check
from vizecg.validation.judge import judge
from vizecg.validation.suites import Subject, checks
from vizecg.validation.tables import Tables, class_table, page_table, record_table, signal_table

RECORDS, COPIES = 40, 2
TASK = TASKS["superdiagnostic"]
LIMITS = {
    "min_records": 20,
    "prevalence_factor": 2.0,
    "max_age_unknown": 0.05,
    "max_sex_unknown": 0.05,
    "max_unlabelled": 0.05,
    "max_without_signal": 0.5,
    "min_positives": 0,
    "max_flagged": {
        "flat_lead": 0.02,
        "clipped": 0.02,
        "noisy": 0.1,
        "burst_noise": 0.02,
        "mains_hum": 0.02,
        "implausible_amplitude": 0.02,
        "drifting": 0.3,
        "arm_reversal_suspected": 0.02,
    },
    "max_not_taken_in": 0.05,
    "max_with_findings": 0.1,
    "max_scale_error": 0.02,
    "max_share_change": 0.05,
    "max_distribution_change": 0.2,
}
# Ten records of one mixture, like PTB-XL's: 40 % NORM, 30 % MI, 20 % each of STTC and CD, 10 % HYP.
MIXTURE = (
    ("NORM",),
    ("NORM",),
    ("NORM",),
    ("NORM",),
    ("MI",),
    ("MI", "STTC"),
    ("MI", "CD"),
    ("STTC",),
    ("CD",),
    ("HYP",),
)


def signals(ecg_id):
    """A beat every 0.8 s with a little noise; limb leads follow from I and II."""
    phase_s = np.arange(1000) / 100 % 0.8
    beat = 1000 * np.exp(-(((phase_s - 0.3) / 0.014) ** 2)) + 250 * np.exp(-(((phase_s - 0.52) / 0.05) ** 2))
    noise = np.random.default_rng(ecg_id).normal(0, 4, (8, 1000))
    i, ii = 0.7 * beat + noise[0], beat + noise[1]
    chest = np.array([-0.6, 0.4, 0.9, 1.3, 1.2, 0.9])[:, None] * beat + noise[2:]
    return np.rint([i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2, *chest]).astype(np.int16)


def record(ecg_id):
    return Record(
        ecg_id=ecg_id,
        source="folder:made-up",
        name=f"records100/{ecg_id}",
        patient_id=1000 + ecg_id,
        age=Age.of(30.0 + ecg_id),
        sex=("male", "female")[ecg_id % 2],
        site="0",
        device="CS-12",
        recorded_at=None,
        fold=ecg_id % 10 + 1,
        classes=MIXTURE[ecg_id // 4 % 10],
    )


def entry(row, copy):
    return {
        "row": row,
        "ecg_id": row + 1,
        "copy": copy,
        "style": "standard",
        "camera": "scan" if copy else "clean",
        "mm_per_s": 25.0,
        "mm_per_mv": 10.0,
        "px_per_mm": 4.0,
        "measured_px_per_mm": 4.01,
        "findings": "",
        "is_ecg": True,
        "ink_fraction": 0.03,
        "mean": 247.0,
    }


@pytest.fixture(scope="session")
def sets(tmp_path_factory):
    base = tmp_path_factory.mktemp("validate")
    source = Provenance(uri="folder:made-up", simulated=True, digest="d" * 64)
    with writing_record_set(base / "records", task=TASK, sampling_hz=100, samples=1000, source=source) as writer:
        for ecg_id in range(1, RECORDS + 1):
            writer.add(record(ecg_id), signals_uv=signals(ecg_id))
        writer.quarantine(99, source="folder:made-up", reason=Reason.WRONG_UNITS, detail="<b>uV</b>")
    write_baseline(base / "baseline.json", None)
    write_page_set(base / "pages", records_digest=read_record_set(base / "records").digest)
    return base


def write_page_set(folder, *, records_digest, change=lambda row: row):
    spec = CanonicalSpec(height_px=8, width_px=12, px_per_mm=1.5)
    recipe = PageRecipe(style="standard", camera="scan", copies=COPIES, upload_px_per_mm=4.0, seed=7, spec=spec)
    blank = np.full((8, 12), 255, np.uint8)
    drawn = (
        DrawnPage(canonical=blank, entry=change(entry(row, copy))) for row in range(RECORDS) for copy in range(COPIES)
    )
    with publishing(folder, kind=PAGE_SET, schema_version=PAGES_VERSION) as staging:
        write_pages(staging, drawn, total=RECORDS * COPIES, recipe=recipe, records_digest=records_digest)


@pytest.fixture
def data():
    """Record table, signals and page index that nothing is wrong with, free to damage."""
    from vizecg.signals import QUALITY_FLAGS

    rows = [record(ecg_id) for ecg_id in range(1, RECORDS + 1)]
    table = pd.DataFrame(
        {
            "ecg_id": [one.ecg_id for one in rows],
            "source": [one.source for one in rows],
            "name": [one.name for one in rows],
            "patient_id": [one.patient_id for one in rows],
            "age_years": pd.array([one.age.years for one in rows], dtype="Int64"),
            "age_band": [one.age.band for one in rows],
            "sex": [one.sex for one in rows],
            "site": "0",
            "device": "CS-12",
            "recorded_at": pd.NaT,
            "fold": [one.fold for one in rows],
            "has_signal": True,
            "upload_start": 0,
            "upload_bytes": 0,
            **{code: [code in one.classes for one in rows] for code in TASK.codes},
            "labelled": True,
            **dict.fromkeys(QUALITY_FLAGS, False),
        }
    )
    index = pd.DataFrame([entry(row, copy) for row in range(RECORDS) for copy in range(COPIES)])
    changes = [Change(quantity="class MI", kind="share", then=0.3, now=0.3, low=-0.2, high=0.2, changed=False)]
    return {
        "table": table,
        "signals": np.stack([signals(one.ecg_id) for one in rows]),
        "index": index,
        "changes": changes,
    }


def all_checks(**limits):
    subject = Subject(
        task=TASK.name,
        classes=TASK.classes,
        sources=["folder:made-up"],
        records=RECORDS,
        copies=COPIES,
        styles=["standard", "paper"],
        cameras=["clean", "scan"],
    )
    return checks(Params(**(LIMITS | limits)), subject=subject)


def outcomes_of(data, wanted):
    """Judge; only the tables that `wanted` is about are laid out."""
    named = {check.table for check in wanted}
    table = data["table"]
    nothing = pd.DataFrame()
    tables = Tables(
        records=record_table(table, codes=TASK.codes) if "records" in named else nothing,
        classes=class_table(table, codes=TASK.codes) if "classes" in named else nothing,
        signals=measured(data) if "signals" in named else nothing,
        pages=page_table(data["index"], table=table) if "pages" in named else nothing,
        baseline=Comparison(changes=tuple(data["changes"])).table() if "baseline" in named else nothing,
    )
    return judge(tables, checks=wanted)


def measured(data):
    return signal_table(
        data["table"], signals_uv=data["signals"], sampling_hz=100, upload=lambda row: b"page %d" % (row % 30)
    )


def cell(part, column, value, *, rows=3):
    """Damage: this value in the first rows of a column."""

    def damage(data):
        data[part].loc[: rows - 1, column] = value

    return damage


def lead(number, change, *, rows):
    def damage(data):
        for row in range(rows):
            signal = data["signals"][row].astype(float)
            signal[number] = change(signal[number])
            data["signals"][row] = np.rint(np.clip(signal, -32000, 32000)).astype(np.int16)

    return damage


def extra_column(data):
    data["table"]["comment"] = "hello"


def few_records(data):
    data["table"], data["signals"] = data["table"].iloc[:10], data["signals"][:10]
    data["index"] = data["index"].iloc[:20]


def one_signal_less(data):
    data["signals"] = data["signals"][:-1]


def one_page_less(data):
    data["index"] = data["index"].iloc[:-1]


def page_twice(data):
    data["index"].loc[1, "copy"] = 0


def all_still(data):
    data["signals"][4] = 0


def recording_again(*, other_fold):
    def damage(data):
        same_fold = 10  # rows 0 and 10 are ten ecg_ids apart: the same fold
        data["signals"][1 if other_fold else same_fold] = data["signals"][0]

    return damage


def arms_exchanged(data):
    for signal in data["signals"][:2]:
        i, ii, iii, avr, avl = signal[:5].copy()
        signal[:5] = -i, iii, ii, avl, avr


def named_twice(data):
    data["table"].loc[1, "name"] = data["table"].loc[0, "name"]


def nothing_to_see(data):
    data["table"].loc[0, "has_signal"] = False


def something_changed(data):
    data["changes"].append(
        Change(quantity="class CD", kind="share", then=0.2, now=0.5, low=0.2, high=0.4, changed=True)
    )


def without_positives(fold):
    def damage(data):
        data["table"].loc[data["table"]["fold"] == fold, "HYP"] = False

    return damage


def without_test_fold(data):
    data["table"].loc[data["table"]["fold"] == 10, "fold"] = 8


V1, V2 = 6, 7
WAVE = np.sin(2 * np.pi * 0.15 * np.arange(1000) / 100)
HUM = 80 * np.sin(2 * np.pi * 40 * np.arange(1000) / 100)  # 60 Hz, sampled at 100 Hz
NOISE = np.random.default_rng(2).normal(0, 60, 1000)

DAMAGE = {
    "records/columns": extra_column,
    "records/enough": few_records,
    "records/source-known": cell("table", "source", "folder:other", rows=1),
    "records/name-once": named_twice,
    "records/something-to-see": nothing_to_see,
    "records/mostly-with-signal": cell("table", "has_signal", False, rows=30),
    "classes/enough-to-tune-on": without_positives(9),
    "classes/enough-to-test-on": without_positives(10),
    "baseline/as-last-accepted": something_changed,
    "records/ecg-id-unique": cell("table", "ecg_id", 7),
    "records/fold-known": cell("table", "fold", 11),
    "records/patient-one-fold": cell("table", "patient_id", 1001),
    "records/splits-present": without_test_fold,
    "records/labelled-agrees": cell("table", "labelled", False),
    "records/sex-known-word": cell("table", "sex", "0"),
    "records/age-possible": cell("table", "age_years", 300),
    "records/age-band-known": cell("table", "age_band", "300-309"),
    "records/prevalence-NORM": cell("table", "NORM", False, rows=40),
    "records/prevalence-MI": cell("table", "MI", True, rows=40),
    "records/prevalence-STTC": cell("table", "STTC", True, rows=40),
    "records/prevalence-CD": cell("table", "CD", False, rows=40),
    "records/prevalence-HYP": cell("table", "HYP", True, rows=20),
    "records/age-known": cell("table", "age_band", "unknown"),
    "records/sex-known": cell("table", "sex", "unknown"),
    "records/mostly-labelled": cell("table", "labelled", False),
    "signals/as-many-as-records": one_signal_less,
    "signals/leads-agree": lead(2, lambda signal: signal + 2600, rows=1),
    "signals/not-empty": all_still,
    "signals/flags-agree": cell("table", "noisy", True, rows=1),
    "signals/no-leak": recording_again(other_fold=True),
    "signals/few-flat-lead": lead(V1, lambda signal: signal * 0, rows=2),
    "signals/few-clipped": lead(V2, lambda signal: np.clip(signal + 9000 * WAVE, -1500, 1500), rows=2),
    "signals/few-noisy": lead(V1, lambda signal: signal + NOISE, rows=5),
    "signals/few-drifting": lead(V1, lambda signal: signal + 900 * WAVE, rows=13),
    "signals/few-arm-reversal-suspected": arms_exchanged,
    "signals/no-copies": recording_again(other_fold=False),
    "signals/few-burst-noise": lead(V1, lambda signal: signal + NOISE * (np.arange(1000) // 100 == 4), rows=2),
    "signals/few-mains-hum": lead(V1, lambda signal: signal + HUM, rows=2),
    "signals/few-implausible-amplitude": lead(V1, lambda signal: signal * 20, rows=2),
    "pages/as-many-as-ordered": one_page_less,
    "pages/once-each": page_twice,
    "pages/right-record": cell("index", "ecg_id", 30, rows=1),
    "pages/standard-taken-in": cell("index", "is_ecg", False, rows=1),
    "pages/style-known": cell("index", "style", "baroque", rows=1),
    "pages/camera-known": cell("index", "camera", "obscura", rows=1),
    "pages/speed-on-paper": cell("index", "mm_per_s", 12.5, rows=1),
    "pages/gain-on-paper": cell("index", "mm_per_mv", 1.0, rows=1),
    "pages/not-blank": cell("index", "ink_fraction", 0.0, rows=1),
    "pages/mostly-taken-in": cell("index", "is_ecg", False, rows=10),
    "pages/few-findings": cell("index", "findings", "no_grid", rows=20),
    "pages/scale-found": cell("index", "measured_px_per_mm", 20.0, rows=10),
    "pages/light-paper": cell("index", "mean", 10.0, rows=10),
}


def test_every_expectation_has_a_case_that_shows_it_failing():
    assert sorted(DAMAGE) == sorted(check.id for check in all_checks())


def test_nothing_fails_on_sound_data(data):
    assert [outcome.check.id for outcome in outcomes_of(data, all_checks()) if not outcome.passed] == []


@pytest.mark.parametrize("name", DAMAGE)
def test_each_expectation_fails_on_data_that_breaks_it(data, name):
    (check,) = [check for check in all_checks(min_positives=1) if check.id == name]
    DAMAGE[name](data)
    (outcome,) = outcomes_of(data, [check])
    assert not outcome.passed
    assert outcome.found
    assert "could not be checked" not in outcome.found


def test_photographs_may_have_a_scale_of_their_own_and_scans_may_not(data):
    (check,) = [check for check in all_checks() if check.id == "pages/scale-found"]
    index = data["index"]
    index["measured_px_per_mm"] = index["measured_px_per_mm"].where(index["camera"] != "scan", 5.2)
    (scanned,) = outcomes_of(data, [check])
    assert scanned.found.startswith("40 of 80")
    index["camera"] = index["camera"].replace("scan", "photo")
    assert outcomes_of(data, [check])[0].passed


def test_a_fault_is_found_again_by_the_number_of_its_record(data):
    cell("index", "mm_per_s", 12.5, rows=1)(data)
    (check,) = [check for check in all_checks() if check.id == "pages/speed-on-paper"]
    assert outcomes_of(data, [check])[0].found == "1 of 80 (1.2%) do not: record 1"


def test_what_cannot_be_checked_does_not_pass(data):
    check = Check(
        id="records/gone",
        table="records",
        hard=True,
        says="There is a column gone.",
        why="",
        expectation="ExpectColumnValuesToBeUnique",
        arguments={"column": "gone"},
    )
    (outcome,) = outcomes_of(data, [check])
    assert not outcome.passed
    assert outcome.found.startswith("could not be checked: ")


# The step


def validate(sets, into, *, pages="pages", **changes):
    baseline = sets / "baseline.json"
    run(Params(**(LIMITS | changes)), records=sets / "records", pages=sets / pages, baseline=baseline, report=into)


def test_a_sound_set_gets_a_verdict_that_names_what_it_is_about(sets, tmp_path, capsys):
    validate(sets, tmp_path / "report")
    manifest = read_manifest(tmp_path / "report", kind=VALIDATION, schema_version=SCHEMA_VERSION)
    assert sorted(manifest.files) == ["index.html", "profile.json", "validation.json", "verdict.json"]
    verdict = json.loads((tmp_path / "report/verdict.json").read_text())
    assert verdict["passed"] is True
    assert verdict["records"] == read_record_set(sets / "records").digest
    numbers = json.loads((tmp_path / "report/validation.json").read_text())
    assert numbers == {"expectations": 52, "passed": 52, "warnings": 0, "failed": 0}
    output = capsys.readouterr()
    assert output.out == "validate: 52 of 52 expectations hold, 0 warnings\n"
    assert output.err == ""


def test_the_same_data_gives_the_same_bytes(sets, tmp_path):
    for name in ("one", "two"):
        validate(sets, tmp_path / name)
    one, two = ((tmp_path / name / "manifest.json").read_bytes() for name in ("one", "two"))
    assert one == two


def test_another_limit_of_a_warning_changes_the_report_but_not_the_verdict(sets, tmp_path):
    validate(sets, tmp_path / "loose")
    validate(sets, tmp_path / "strict", prevalence_factor=1.01)
    loose, strict = tmp_path / "loose", tmp_path / "strict"
    assert (loose / "verdict.json").read_bytes() == (strict / "verdict.json").read_bytes()
    assert json.loads((strict / "validation.json").read_text())["warnings"] > 0
    assert "What to look at" in (strict / "index.html").read_text()


def test_what_must_hold_stops_the_pipeline_and_says_where_to_read(sets, tmp_path):
    validate(sets, tmp_path / "report")
    before = (tmp_path / "report/manifest.json").read_bytes()
    with pytest.raises(
        GateRefused,
        match=r"the data must not be trained on: records/enough \(found 40\); read .*report-failed/index\.html",
    ):
        validate(sets, tmp_path / "report", min_records=41)
    assert (tmp_path / "report/manifest.json").read_bytes() == before
    assert json.loads((tmp_path / "report-failed/verdict.json").read_text())["passed"] is False
    assert "Stop: 1 thing that must be true is not." in (tmp_path / "report-failed/index.html").read_text()
    validate(sets, tmp_path / "report")
    assert not (tmp_path / "report-failed").exists()


def test_pages_of_other_records_are_refused(sets, tmp_path):
    write_page_set(sets / "foreign", records_digest="f" * 64)
    with pytest.raises(InputError, match=r"foreign was drawn from other records than those in .*; run render again"):
        validate(sets, tmp_path / "report", pages="foreign")


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.outside, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.outside += [value for name, value in attrs if name in ("href", "src", "action", "data")]
        assert tag not in ("script", "link", "iframe", "img", "object")

    def handle_data(self, data):
        self.text.append(data)


def test_the_report_stands_alone_and_says_what_the_data_is(sets, tmp_path):
    validate(sets, tmp_path / "report", prevalence_factor=1.01)
    page = (tmp_path / "report/index.html").read_text()
    parsed = Links()
    parsed.feed(page)
    text = re.sub(r"\s+", " ", " ".join(parsed.text))
    assert parsed.outside == []
    assert "url(" not in page
    assert "@import" not in page
    assert "://" not in page
    for words in (
        "Simulated records.",
        "no medical meaning",
        "40 records",
        "it is not in millivolts",
        "Good to use, with",
    ):
        assert words in text
    assert "prefers-color-scheme: dark" in page
    assert str(tmp_path) not in page
