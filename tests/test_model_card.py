"""The card of a model: machines read its head, people its sections, and both are told what is missing."""

import re

import pytest
import yaml

from vizecg import model_card
from vizecg.bundle import ClassEntry, Contract, GoldenTolerance, Headline, ImageSize, Inputs, PaperScale, QualityLimits
from vizecg.labels import TASKS
from vizecg.operating_point import OperatingPoint
from vizecg.report import Slice

TASK = TASKS["superdiagnostic"]
CODES = TASK.codes
PTBXL = "https://physionet.org/files/ptb-xl/1.0.3/"


def contract_of(*, simulated=False, **point):
    count = len(CODES)
    return Contract(
        schema_version=1,
        model_name="vizecgnet",
        task=TASK.name,
        classes=tuple(ClassEntry(code=entry.code, name=entry.name) for entry in TASK.classes),
        image=ImageSize(height_px=288, width_px=384, px_per_mm=1.5, field_mm=(256, 192)),
        paper_scales=(PaperScale(mm_per_s=25, mm_per_mv=10),),
        operating_point=OperatingPoint(
            classes=CODES,
            slope=(1.0,) * count,
            bias=(0.0,) * count,
            thresholds=(0.4,) * count,
            abstain_margin=0.05,
            **{"fitted_on": {"records": 133}, **point},
        ),
        quality_limits=QualityLimits(max_pixels=50_000_000),
        tolerance=GoldenTolerance(gray_levels=2, logits=0.001, probabilities=0.02),
        intended_use="Research.",
        simulated=simulated,
        scores=Headline(macro_auroc=0.9, low=None, high=None, records=130),
        inputs=Inputs(model_run="a" * 64, evaluation="b" * 64, records=None, pages=None),
        packages={},
    )


def card(*, uri=PTBXL, simulated=False, slices=(), metrics=None, point=None, **scores):
    found = {"positives": 30, "auroc": 0.91, "auroc_low": 0.87, "auroc_high": 0.95, "f1": 0.7, **(metrics or {})}
    content = {"records": 130, "macro": found, "macro_classes": list(CODES), "classes": dict.fromkeys(CODES, found)}
    source = {"uri": uri, "simulated": simulated}
    return model_card.write(
        contract_of(simulated=simulated, **(point or {})),
        scores=content | scores,
        description={"source": source},
        slices=slices,
    )


def head(text):
    dashes, content, _ = text.split("---\n", 2)
    assert dashes == ""
    return yaml.safe_load(content)


def test_the_head_is_what_the_hub_reads():
    found = head(card())
    assert found["license"] == "apache-2.0"
    assert found["library_name"] == "onnx"
    assert found["pipeline_tag"] == "image-classification"
    assert {"ecg", "multi-label"} <= set(found["tags"])
    assert found["datasets"] == ["ptb-xl"]
    (model,) = found["model-index"]
    (result,) = model["results"]
    assert result["task"]["type"] == "image-classification"
    assert (result["dataset"]["type"], result["dataset"]["split"]) == ("ptb-xl", "fold 10")
    assert {entry["type"]: entry["value"] for entry in result["metrics"]} == {"roc_auc": 0.91, "f1": 0.7}


def test_only_what_was_measured_is_in_the_head():
    assert head(card())["metrics"] == ["roc_auc", "f1"]
    without = head(card(macro={"auroc": None}))
    assert "model-index" not in without
    assert without["metrics"] == []


@pytest.mark.parametrize(
    ("uri", "simulated", "expected"),
    [
        ("folder:st-mary-hospital", False, ["own-records"]),
        ("simulated:records=9,seed=7", True, ["simulated-ecg"]),
        (PTBXL, False, ["ptb-xl"]),
    ],
)
def test_the_head_names_data_by_what_means_something_outside(uri, simulated, expected):
    found = head(card(uri=uri, simulated=simulated))
    assert found["datasets"] == expected
    assert ("simulated-data" in found["tags"]) is simulated
    assert uri not in yaml.safe_dump(found)


def test_each_class_has_each_measured_metric_with_its_interval():
    text = card(metrics={"specificity": 0.8, "specificity_low": 0.7, "specificity_high": 0.9})
    assert "| class | cases | AUROC | F1 | specificity |" in text
    assert text.count("| 30 | 0.910 (0.870 to 0.950) | 0.700 | 0.800 (0.700 to 0.900) |") == len(CODES)
    assert "specificity" not in card()


def test_classes_outside_the_macro_are_named_with_the_reason():
    assert "not in the macro: HYP (9 positive records)." in card(left_out={"HYP": "9 positive records"})


def test_calibration_stands_beside_what_a_perfect_model_would_show():
    text = card(metrics={"calibration_slope": 0.93, "ece": 0.05, "ece_expected": 0.041})
    assert "| class | slope (1 is right) | ECE | ECE of a perfect model |" in text
    assert "| macro | 0.930 | 0.050 | 0.041 |" in text
    assert "## Calibration" not in card()


def test_parts_of_the_records_are_told_and_those_too_small_counted():
    slices = [
        Slice(group="device", name="CS|12", records=44, value=0.8, low=0.7, high=0.9, p=0.012),
        Slice(group="age", name="90+", records=3, value=None, low=None, high=None, reason="3 records"),
    ]
    text = card(slices=slices)
    assert "| device | CS\\|12 | 44 | 0.800 (0.700 to 0.900) | 0.012 |" in text
    assert "too small were 1." in text
    assert "## Parts of the records" not in card()


def test_out_of_fold_the_card_says_that_the_recipe_was_scored_and_how_the_served_network_did():
    served = {"records": 98, "macro": {"auroc": 0.84}, "out_of_fold_macro": {"auroc": 0.85}}
    served |= {"difference": -0.01, "difference_low": -0.03, "difference_high": 0.02}
    fitted_on = {"protocol": "cross", "records": 1004}
    text = card(protocol="cross", served_network=served, refused_by_intake=2, point={"fitted_on": fitted_on})
    assert "this is the score of the recipe" in text
    assert "a macro AUROC of 0.840, the one of the ten that has not either 0.850" in text
    assert "the difference is -0.010 (-0.030 to 0.020)." in text
    assert "come from what was said of folds 1 to 10 out of fold (1004 records)" in text
    assert "these were 2, neither learned from nor scored." in text
    assert "of fold 10, never used in training" not in text
    assert head(text)["model-index"][0]["results"][0]["dataset"]["split"] == "folds 1 to 10, out of fold"


@pytest.mark.parametrize(
    ("fitted_on", "expected"),
    [
        ({"threshold": {"rule": "f1_plateau", "at": None}}, "each in the middle of the plateau of the highest F1."),
        ({"threshold": {"rule": "sensitivity", "at": 0.9}}, "each to reach a sensitivity of 0.9."),
        ({"records": 133}, "(133 records): thresholds were chosen on its calibrated probabilities."),
    ],
)
def test_it_says_how_thresholds_were_chosen_as_far_as_that_is_known(fitted_on, expected):
    assert expected in card(point={"fitted_on": fitted_on})


def test_classes_that_share_a_threshold_are_named():
    assert "these share one: MI, HYP." in card(point={"pooled_thresholds": ("MI", "HYP")})


def checklist(text):
    return dict(re.findall(r"^\| (\d+[a-g]?) \| [^|]+ \| ([^|]+) \|$", text, flags=re.MULTILINE))


def test_every_item_of_the_checklist_is_answered_or_said_to_be_missing():
    found = checklist(card())
    assert {int(re.sub(r"\D", "", item)) for item in found} == set(range(1, 28))
    assert len(found) == 52  # with their parts, as Collins et al. number them
    assert all(where.strip() for where in found.values())
    assert found["18a"] == "not reported"


def test_what_the_checklist_points_to_is_in_the_card():
    slices = [Slice(group="sex", name="female", records=44, value=0.8, low=None, high=None)]
    text = card(slices=slices, metrics={"ece": 0.05}, refused_by_intake=2)
    titles = set(re.findall(r"^## (.+)$", text, flags=re.MULTILINE))
    named = {part.split(":")[0].split(";")[0] for where in checklist(text).values() for part in where.split(", ")}
    known = ("What it", "How good", "How its", "Where it", "Data", "Limits", "Parts of", "Calibration")
    assert {name for name in named if name.startswith(known)} <= titles


@pytest.mark.parametrize("item", ["12d", "14", "23b"])
def test_fairness_is_not_reported_until_parts_of_the_records_are(item):
    assert checklist(card())[item] == "not reported"
    slices = [Slice(group="sex", name="female", records=44, value=0.8, low=None, high=None)]
    assert checklist(card(slices=slices))[item] == "Parts of the records"
