"""The page of an evaluation: all that was measured, nothing that was not, for any reader and any browser setting."""

import csv
import io
import json
import re
import shutil
import subprocess
from contextlib import closing
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, log_loss, precision_score, recall_score

from vizecg.errors import InputError
from vizecg.evidence_map import overlaid
from vizecg.labels import LabelClass
from vizecg.public import public_sources
from vizecg.report import PAGE_FILE, Mistakes, Scored, Subject, write_page
from vizecg.report.curves import SWEPT, confusion, sweep
from vizecg.report.mistakes import Mistake, Said, record_losses
from vizecg.report.svg import round_ticks

NASTY = "<script>alert(1)</script>&\"'"
CODES = ("NORM", NASTY)
VOID = {"meta", "img", "br", "hr", "input", "link"}
BROWSER = pytest.mark.xdist_group("browser")  # so that it is started once
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def estimate(name, value):
    return {name: value, f"{name}_low": value - 0.05, f"{name}_high": value + 0.05}


def scores_of(codes, *, records, simulated=True, **more):
    of_class = {"positives": 20, "negatives": records - 20, "threshold": 0.5, **estimate("auroc", 0.9)}
    return {
        "records": records,
        "patients": records,
        "resamples": 100,
        "confidence": 0.95,
        "fold": 10,
        "simulated": simulated,
        "macro_classes": list(codes),
        "macro": estimate("auroc", 0.876),
        "classes": {code: dict(of_class) for code in codes},
        **more,
    }


def scored_of(codes, *, records, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random((records, len(codes))) < 0.3).astype(np.uint8)
    return Scored(
        codes=codes,
        labels=labels,
        probabilities=np.clip(0.3 * rng.random(labels.shape) + 0.5 * labels, 0.001, 0.999),
        thresholds=np.full(len(codes), 0.4),
        note="made up",
    )


def write(folder, *, codes=CODES, records=60, mistakes=None, curves=None, scores=None):
    folder.mkdir(exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(scores or scores_of(codes, records=records)))
    (folder / "operating_point.json").write_text(json.dumps({"pooled_thresholds": []}))
    classes = [LabelClass(code=code, name=f"name of {code}") for code in codes]
    subject = Subject(classes=classes, source="made up", curves=curves)
    write_page(folder, scored=scored_of(codes, records=records), subject=subject, mistakes=mistakes or Mistakes())
    return (folder / PAGE_FILE).read_text()


def write_slices(folder, *, names=("female", "a | b")):
    told = {"auroc": 0.71234, "auroc_low": 0.6, "auroc_high": 0.8, "p_holm": 0.002}
    entries = [{"kind": "sex", "value": name, "records": 44, **told} for name in names]
    none = dict.fromkeys(("auroc", "auroc_low", "auroc_high", "p_holm"))
    entries.append({"kind": "age", "value": "90+", "records": 3, **none, "reason": "3 records, at least 30 are needed"})
    (folder / "slices.json").write_text(json.dumps({"slices": entries}))


def write_csv(path, *rows):
    with path.open("w", newline="") as opened:
        csv.writer(opened).writerows(rows)


def write_all(folder):
    """Everything that an evaluation can hold beside its scores."""
    folder.mkdir(exist_ok=True)
    write_slices(folder)
    header = ("abstain_margin", "records", "answered_share", "error_rate", "mismatch_rate")
    write_csv(
        folder / "risk_coverage.csv", header, (0, 60, 1.0, 0.2, 0.4), (0.3, 30, 0.5, 0.1, 0.2), (0.9, 0, 0, "", "")
    )
    header = ("style", "camera", "difference", "low", "high")
    write_csv(folder / "robustness.csv", header, ("standard", "photo", -0.0371, -0.05, -0.02), ("faded", "photo", 0.01))
    write_csv(folder / "curves.csv", ("epoch", "image", "signal"), (1, 0.6, 0.7), (2, 0.8, ""))


def a_mistake(code="NORM"):
    picture = Image.new("RGB", (60, 40), (200, 120, 40))
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG")
    said = Said(code=code, written=False, probability=0.93, threshold=0.4)
    return Mistake(ecg_id=4711, loss=2.7, classes=(said,), drawn=said, jpeg=encoded.getvalue())


class Page(HTMLParser):
    """What a strict reader sees: elements that are not closed in their order are an error."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.names, self.attributes, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The folder of an evaluation that has everything, one class with a name that attacks the page."""
    folder = tmp_path_factory.mktemp("evaluation") / "full"
    write_all(folder)
    scores = scores_of(CODES, records=60, left_out={"NORM": "9 positive records"}, exact_match=0.61)
    for found in (scores["macro"], *scores["classes"].values()):
        found |= estimate("calibration_slope", 0.93) | {"ece": 0.05, "ece_expected": 0.04}
    mistakes = Mistakes(shown=(a_mistake(NASTY),), wrong=3, withheld=2)
    write(folder, mistakes=mistakes, curves=folder / "curves.csv", scores=scores)
    return folder


@pytest.fixture(scope="module")
def page(full):
    return (full / PAGE_FILE).read_text()


def test_the_headline_is_the_macro_auroc_with_its_interval(page):
    text = Page(page).text
    assert "Macro AUROC 0.876 (0.826 to 0.926)" in text
    assert "in 88 of 100 pairs" in text
    assert "SIMULATED." in text


def test_only_simulated_records_are_called_so(tmp_path):
    page = write(tmp_path, scores=scores_of(CODES, records=60, simulated=False))
    assert "SIMULATED" not in page


def test_classes_stand_in_the_order_of_the_task_whatever_the_file_has(tmp_path):
    codes = ("NORM", "MI", "CD")
    scores = scores_of(codes, records=60)
    scores["classes"] = dict(sorted(scores["classes"].items()))
    page = write(tmp_path, codes=codes, scores=scores)
    table = page[page.index("By class") :]
    assert sorted(codes, key=lambda code: table.index(f">{code}<small>")) == list(codes)


def test_classes_outside_the_macro_are_named_with_the_reason(page, tmp_path):
    assert "NORM : 9 positive records" in Page(page).text
    older = scores_of(CODES, records=60) | {"macro_classes": ["NORM"]}
    assert "no record with it, or none without it" in write(tmp_path, scores=older)
    assert "left out of the macro" not in write(tmp_path)


def test_layouts_and_paper_speeds_are_told_and_one_too_small_says_so(full, tmp_path):
    shutil.copy(full / "robustness.csv", tmp_path / "robustness.csv")
    header = ("kind", "value", "records", "pages", "auroc", "difference", "low", "high", "reason")
    told = "12 records, at least 30 are needed"
    write_csv(
        tmp_path / "paper.csv",
        header,
        ("layout", "6x2", 40, 120, 0.8, -0.0312, -0.06, -0.01, ""),
        ("mm/s", "50", 12, 36, "", "", "", "", told),
    )
    text = Page(write(tmp_path)).text
    assert "layout 6x2 40 −0.031" in text
    assert f"mm/s 50 12 {told}" in text


def test_a_part_that_nobody_is_in_is_not_on_the_page(tmp_path):
    write_slices(tmp_path)
    content = json.loads((tmp_path / "slices.json").read_text())
    content["slices"][-1] |= {"records": 0, "value": "nobody", "reason": "0 records, at least 30 are needed"}
    (tmp_path / "slices.json").write_text(json.dumps(content))
    page = write(tmp_path)
    assert "nobody" not in page
    assert "female" in page


SECTIONS = {
    "Parts of the records": ("slices.json", "0.712 (0.60–0.80)"),
    "When it leaves the answer to a person": ("risk_coverage.csv", "Risk against coverage"),
    "Other papers and cameras": ("robustness.csv", "−0.037"),
}


@pytest.mark.parametrize("title", SECTIONS)
def test_a_section_is_there_only_if_its_numbers_are(title, full, tmp_path):
    name, told = SECTIONS[title]
    assert title not in write(tmp_path)
    shutil.copy(full / name, tmp_path / name)
    page = Page(write(tmp_path)).text
    assert title in page
    assert told in page
    for other in SECTIONS.keys() - {title}:
        assert other not in page


def test_curves_mistakes_and_calibration_numbers_are_absent_where_nothing_is_known_of_them(page, tmp_path):
    told = ("How it learned", "Worst mistakes", "ECE by chance")
    assert all(words in page for words in told)
    without = write(tmp_path, curves=tmp_path / "none.csv")
    assert not any(words in without for words in told)


def test_a_part_that_is_too_small_says_so_and_one_that_differs_says_so(page):
    text = Page(page).text
    assert "3 records, at least 30 are needed" in text
    assert "differs from the others (p 0.002)" in text


def test_figures_of_what_lies_beside_the_scores_are_written_for_mlflow(full, tmp_path):
    assert {path.name for path in (full / "figures").iterdir()} == {"slices.png", "risk_coverage.png", "robustness.png"}
    write(tmp_path)
    assert list((tmp_path / "figures").iterdir()) == []


def test_a_name_that_is_markup_is_shown_and_never_becomes_markup(page):
    parsed = Page(page)
    assert "script" not in parsed.names
    assert NASTY in parsed.text
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]


def test_the_page_is_well_formed_and_holds_nothing_from_elsewhere(page):
    parsed = Page(page)
    loading = {name: value for name, value in parsed.attributes if name in {"src", "href", "srcset", "data", "action"}}
    assert set(loading) == {"src"}
    assert loading["src"].startswith("data:image/jpeg;base64,")
    assert "url(" not in page
    assert "@import" not in page
    assert "style" not in {name for name, _ in parsed.attributes}  # the policy allows the style sheet alone


def test_every_drawing_says_in_words_what_it_is(page):
    drawings = re.findall(r"<svg class=\"(?:plot|strip)\".*?</svg>", page, flags=re.DOTALL)
    assert len(drawings) >= 8
    for drawing in drawings:
        assert 'role="img" aria-label="' in drawing
        assert "<title>" in drawing


def test_equal_numbers_are_equal_bytes(tmp_path):
    pages = []
    for name in ("one", "two"):
        write_all(tmp_path / name)
        pages.append(write(tmp_path / name, mistakes=Mistakes(shown=(a_mistake(),), wrong=1)))
    assert pages[0] == pages[1]


def test_a_task_of_71_classes_on_2000_records_stays_a_small_page(tmp_path):
    codes = [f"C{number}" for number in range(71)]
    page = write(tmp_path, codes=codes, records=2000)
    assert len(page.encode()) < 2_000_000
    assert "64 rarer classes" in page
    assert "15 commonest of 71 classes" in page


def test_a_fold_without_any_curve_has_a_page_all_the_same(tmp_path):
    scores = scores_of(("NORM",), records=5) | {"macro_classes": [], "macro": dict.fromkeys(("auroc",))}
    scores["classes"]["NORM"] = {"positives": 0, "negatives": 5, "threshold": 0.5, "auroc": None}
    (tmp_path / "metrics.json").write_text(json.dumps(scores))
    (tmp_path / "operating_point.json").write_text("{}")
    none = replace(scored_of(("NORM",), records=5), labels=np.zeros((5, 1), np.uint8))
    subject = Subject(classes=[LabelClass(code="NORM", name="normal")], source="made up")
    write_page(tmp_path, scored=none, subject=subject, mistakes=Mistakes())
    assert "Macro AUROC is not defined." in Page((tmp_path / PAGE_FILE).read_text()).text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("slices.json", "{}", r"slices\.json does not hold slices .*; run evaluate again"),
        ("slices.json", "no json", r"slices\.json does not hold slices .*; run evaluate again"),
        ("risk_coverage.csv", "coverage,risk\n1,2\n", r"has no column 'answered_share', it has \['coverage', 'risk'\]"),
        ("robustness.csv", "style\na\n", r"has no column 'camera', it has \['style'\]; produce it again"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_name(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        write(tmp_path)


def test_a_sweep_is_what_scikit_learn_counts_at_each_threshold():
    scored = scored_of(("a",), records=80)
    labels, said = scored.labels[:, 0], scored.probabilities[:, 0]
    found = sweep(labels, said)
    for at, threshold in enumerate(SWEPT):
        called = said >= threshold
        assert found.sensitivity[at] == pytest.approx(recall_score(labels, called))
        assert found.specificity[at] == pytest.approx(recall_score(1 - labels, ~called))
        if called.any():
            assert found.precision[at] == pytest.approx(precision_score(labels, called))
    assert np.isnan(found.precision[-1])  # nothing is called: no share of it is right


def test_a_confusion_is_scikit_learns():
    scored = scored_of(("a",), records=80, seed=3)
    said = scored.probabilities[:, 0] >= 0.2
    found = confusion(scored.labels[:, 0], said)
    expected = confusion_matrix(scored.labels[:, 0], said).tolist()
    assert [[found.rightly_not, found.false_alarms], [found.missed, found.found]] == expected


def test_the_loss_of_the_records_is_scikit_learns_log_loss():
    scored = scored_of(("a", "b"), records=40)
    for k in range(2):
        expected = log_loss(scored.labels[:, k], scored.probabilities[:, k])
        assert record_losses(scored)[:, k].mean() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("highest", "expected"),
    [(1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0.38, [0, 0.1, 0.2, 0.3, 0.4]), (0.05, [0, 0.01, 0.02, 0.03, 0.04, 0.05])],
)
def test_an_axis_has_round_numbers(highest, expected):
    assert round_ticks(highest) == pytest.approx(expected)


def test_evidence_for_is_orange_against_is_blue_and_ink_stays_black():
    page = np.full((40, 80, 3), 255, np.uint8)
    page[20] = 0
    red, _, blue = (overlaid(page, np.array([[2.0, -2.0]], np.float32))[..., channel] for channel in range(3))
    assert red[5, 2] > blue[5, 2] + 100
    assert blue[5, -2] > red[5, -2] + 60
    assert red[20].max() == blue[20].max() == 0
    weak = overlaid(page, np.array([[2.0, 0.2]], np.float32))
    assert weak[5, -1].min() > 245  # a tenth of the strongest place is hardly seen


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"uri": "simulated:records=9", "simulated": True}, {"simulated:records=9"}),
        ({"uri": "folder:hospital", "simulated": False}, set()),
        ({"uri": "https://physionet.org/files/ptb-xl/1.0.3/", "simulated": False}, None),
        ({"uri": "https://physionet.org.evil.example/files/ptb-xl/", "simulated": False}, set()),
        (
            {
                "uri": "folder:hospital + simulated:x",
                "simulated": True,
                "parts": [{"uri": "folder:hospital", "simulated": False}, {"uri": "simulated:x", "simulated": True}],
            },
            {"simulated:x"},
        ),
    ],
)
def test_only_what_everybody_can_download_or_nobody_is_in_may_be_shown(source, expected):
    assert public_sources(source) == ({source["uri"]} if expected is None else expected)


# In a browser


@pytest.fixture(scope="module")
def shown(full, tmp_path_factory):
    """The page as Chromium shows it: by day with all it says and asks for, by night, and printed."""
    if CHROMIUM is None:
        pytest.skip("needs a browser: install chromium")
    place = tmp_path_factory.mktemp("browser")
    log = place / "net.json"
    page = full / PAGE_FILE
    said = browse(page, place, f"--screenshot={place / 'light.png'}", f"--log-net-log={log}")
    browse(page, place, f"--screenshot={place / 'dark.png'}", "--blink-settings=preferredColorScheme=0")
    browse(page, place, f"--print-to-pdf={place / 'page.pdf'}", "--no-pdf-header-footer")
    return place, said, log.read_text()


def browse(page, place, *options):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND"]  # what it would ask its maker by itself
    command += [f"--user-data-dir={place / 'profile'}", "--window-size=1000,1400", "--enable-logging=stderr", *options]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    return done.stderr


def requests_of_page(log):
    """URLs that the page made Chromium ask for; those that Chromium asks for by itself have no origin."""
    events = [event.get("params", {}) for event in json.loads(log)["events"]]
    return {one["url"] for one in events if one.get("initiator", "not an origin") != "not an origin" and "url" in one}


@BROWSER
def test_a_browser_has_nothing_to_complain_about(shown):
    assert "CONSOLE" not in shown[1]


@BROWSER
def test_no_request_leaves_the_machine(shown):
    assert requests_of_page(shown[2]) == set()


@BROWSER
@pytest.mark.usefixtures("shown")
def test_a_request_that_leaves_would_be_seen(tmp_path):
    url = "http://127.0.0.1:9/picture.png"
    (tmp_path / "page.html").write_text(f'<!doctype html><img src="{url}">')
    log = tmp_path / "net.json"
    browse(tmp_path / "page.html", tmp_path, f"--screenshot={tmp_path / 'page.png'}", f"--log-net-log={log}")
    assert requests_of_page(log.read_text()) == {url}


@BROWSER
def test_by_night_the_page_is_dark_and_its_lines_change_with_it(shown):
    day, night = (np.asarray(Image.open(shown[0] / name).convert("L")) for name in ("light.png", "dark.png"))
    assert np.median(day) > 230
    assert np.median(night) < 60
    # Ink is there on both.
    assert (day < 90).mean() > 0.002
    assert (night > 150).mean() > 0.002


@BROWSER
def test_the_page_prints_with_what_is_folded_away_on_the_screen(shown):
    import pypdfium2

    with closing(pypdfium2.PdfDocument(shown[0] / "page.pdf")) as printed:
        text = " ".join(page.get_textpage().get_text_range() for page in printed)
        assert 2 <= len(printed) <= 12
    assert "How good is the model?" in text
    assert "how often the one with it gets more" in " ".join(text.split())
