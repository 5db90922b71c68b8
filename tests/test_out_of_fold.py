"""Every record scored by who has not learned from it; rivals held against each other on the same records."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from vizecg import publish, training
from vizecg.comparing import Answers, Contender, OtherPage, Params, best_signal_model, claims, hold, names_of
from vizecg.comparison_files import _other_pages_of, markdown, write
from vizecg.config import read_params
from vizecg.errors import InputError
from vizecg.executors import InlineExecutor
from vizecg.intake import CanonicalSpec
from vizecg.labels import TASKS
from vizecg.other_pages import draw_other_pages
from vizecg.out_of_fold import Decided, OutOfFold, decide, out_of_fold
from vizecg.pages import PAGE_SET, SCHEMA_VERSION, PageRecipe, draw_pages, read_page_set, write_pages
from vizecg.recipe import Recipe
from vizecg.records import Age, Provenance, Record, read_record_set, writing_record_set
from vizecg.robustness import Condition
from vizecg.simulate.recording import record
from vizecg.steps import params_models

TASK = TASKS["superdiagnostic"]
CODES = TASK.codes
STATEMENTS = {"NORM": "NORM", "MI": "IMI", "STTC": "NDT", "CD": "CLBBB", "HYP": "LVH"}
FOLDS = (1, 2, 3)
PER_FOLD = 10
SMALL = Recipe.model_validate(
    {"model": {"image_width": 2, "dim": 8, "heads": 2, "signal": False}, "epochs": 1, "batch_size": 8, "threads": 1}
)


@pytest.fixture(scope="module")
def record_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crossed") / "records"
    source = Provenance(uri="folder:made-up", simulated=True, digest="d" * 64)
    with writing_record_set(folder, task=TASK, sampling_hz=100, samples=1000, source=source) as writer:
        for ecg_id in range(1, len(FOLDS) * PER_FOLD + 1):
            code = CODES[ecg_id % 5]
            heart = record((STATEMENTS[code],), patient=(3, ecg_id), visit=(3, ecg_id))
            entry = Record(
                ecg_id=ecg_id,
                source="folder:made-up",
                name=f"record {ecg_id}",
                patient_id=ecg_id // 2,
                age=Age.of(50.0),
                sex="female",
                site="0",
                device="made up",
                recorded_at=None,
                fold=FOLDS[(ecg_id // 2) % len(FOLDS)],
                classes=(code,),
            )
            writer.add(entry, signals_uv=heart.low_uv.astype(np.int16))
    return read_record_set(folder)


@pytest.fixture(scope="module")
def page_set(record_set, tmp_path_factory):
    folder = tmp_path_factory.mktemp("crossed-pages") / "pages"
    recipe = PageRecipe(
        style="standard",
        camera="scan",
        copies=2,
        upload_px_per_mm=3.0,
        seed=7,
        spec=CanonicalSpec(height_px=144, width_px=256, px_per_mm=1.0),
    )
    total = 2 * len(record_set)
    with (
        InlineExecutor() as executor,
        publish.publishing(folder, kind=PAGE_SET, schema_version=SCHEMA_VERSION) as staging,
    ):
        pages = draw_pages(record_set, rows=range(len(record_set)), copies=[0, 1], recipe=recipe, executor=executor)
        write_pages(staging, pages, total=total, recipe=recipe, records_digest=record_set.digest)
    return read_page_set(folder)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("answers")


@pytest.fixture(scope="module")
def said(record_set, page_set, cache):
    return out_of_fold(record_set, page_set=page_set, recipe=SMALL, seed=5, folds=FOLDS, cache=cache)


def watched(monkeypatch):
    """What each training is given, while it trains as ever."""
    seen, real = [], training.train

    def train(data, recipe, **how):
        seen.append((data, recipe))
        return real(data, recipe, **how)

    monkeypatch.setattr(training, "train", train)
    return seen


def test_every_record_is_scored_once_and_against_what_is_written(said, record_set):
    assert said.rows.tolist() == list(range(len(record_set)))
    assert said.folds.tolist() == record_set.table["fold"].tolist()
    assert np.array_equal(said.labels, record_set.labels())
    assert said.logits.shape == (30, 5)
    assert np.isfinite(said.logits).all()


def test_nobody_learns_from_a_patient_it_is_asked_about(record_set, page_set, monkeypatch, tmp_path):
    seen = watched(monkeypatch)
    out_of_fold(record_set, page_set=page_set, recipe=SMALL, seed=5, folds=FOLDS, cache=tmp_path)
    folds, patients = (record_set.table[name].to_numpy() for name in ("fold", "patient_id"))
    for fold, (data, recipe) in zip(FOLDS, seen, strict=True):
        assert set(folds[data.training_rows]) == set(FOLDS) - {fold}
        assert not set(patients[data.training_rows]) & set(patients[folds == fold])
        assert not len(data.validation_rows)
        assert recipe.select == "last", "an epoch chosen on the fold would have looked at it"


def test_folds_left_out_together_are_scored_by_one_network_that_has_seen_none_of_them(
    record_set, page_set, monkeypatch, tmp_path
):
    seen = watched(monkeypatch)
    how = {"page_set": page_set, "recipe": SMALL, "seed": 5, "folds": FOLDS, "cache": tmp_path}
    said = out_of_fold(record_set, held_out=2, **how)
    folds = record_set.table["fold"].to_numpy()
    assert [set(folds[data.training_rows]) for data, _ in seen] == [{3}, {1, 2}]
    assert said.folds.tolist() == folds.tolist()
    assert dict(zip(said.folds.tolist(), said.networks.tolist(), strict=True)) == {1: 1, 2: 1, 3: 3}
    decided = decide(said, min_positives=1)
    assert len(np.unique(decided.thresholds[folds < 3], axis=0)) == 1, "one network has one operating point"
    monkeypatch.setattr(training, "train", None)
    heard = []
    out_of_fold(record_set, held_out=2, on_part=lambda part, done: heard.append((part, done)), **how)
    assert heard == [((1, 2), True), ((3,), True)]


def test_what_was_trained_is_not_trained_again(said, record_set, page_set, cache, monkeypatch):
    monkeypatch.setattr(training, "train", None)
    heard = []
    again = out_of_fold(
        record_set,
        page_set=page_set,
        recipe=SMALL,
        seed=5,
        folds=FOLDS,
        cache=cache,
        on_part=lambda part, done: heard.append((part, done)),
    )
    assert np.array_equal(again.logits, said.logits)
    assert heard == [((1,), True), ((2,), True), ((3,), True)]


def test_another_seed_or_recipe_is_another_training(said, record_set, page_set, cache, monkeypatch):
    seen = watched(monkeypatch)
    how = {"page_set": page_set, "folds": FOLDS[:2], "cache": cache}
    other = out_of_fold(record_set, recipe=SMALL, seed=6, **how)
    out_of_fold(record_set, recipe=SMALL.model_copy(update={"weight_decay": 0.0}), seed=6, **how)
    assert len(seen) == 4
    assert not np.array_equal(other.logits, said.logits[np.isin(said.folds, FOLDS[:2])])


def test_a_damaged_answer_is_trained_again_and_comes_out_the_same(said, record_set, page_set, cache, caplog):
    for path in sorted(cache.glob("fold-02-*.npz")):
        path.write_bytes(path.read_bytes()[:50])
    again = out_of_fold(record_set, page_set=page_set, recipe=SMALL, seed=5, folds=FOLDS, cache=cache)
    assert np.array_equal(again.logits, said.logits)
    assert "is damaged; its fold is trained again" in caplog.text


def test_shuffled_labels_are_dealt_out_among_the_training_records_alone(record_set, page_set, monkeypatch, tmp_path):
    seen = watched(monkeypatch)
    how = {"page_set": page_set, "recipe": SMALL, "seed": 5, "folds": FOLDS, "cache": tmp_path}
    shuffled = out_of_fold(record_set, labels="shuffled", **how)
    assert np.array_equal(shuffled.labels, record_set.labels()), "the score is against what is written"
    for data, _ in seen:
        learned, written = data.labels[data.training_rows], record_set.labels()[data.training_rows]
        assert np.array_equal(learned.sum(axis=0), written.sum(axis=0))
        assert not np.array_equal(learned, written)


def test_a_fold_without_records_is_refused(record_set, page_set, tmp_path):
    with pytest.raises(InputError, match=r"fold 9 holds no labelled record with a page"):
        out_of_fold(record_set, page_set=page_set, recipe=SMALL, seed=5, folds=(1, 9), cache=tmp_path)


def test_every_fold_begins_with_the_same_first_weights(record_set, page_set, monkeypatch, tmp_path):
    seen = watched(monkeypatch)
    asked = {"records": 10, "seed": 5, "copies": 1, "epochs": 1, "workers": 0}
    recipe = Recipe.model_validate({**SMALL.model_dump(), "pretraining": asked})
    out_of_fold(record_set, page_set=page_set, recipe=recipe, seed=5, folds=FOLDS, cache=tmp_path)
    simulated, *real = seen
    assert simulated[0].ecg_ids.tolist() == list(range(1, 11))
    assert len(real) == len(FOLDS)
    assert len({recipe.model.init.sha256 for _, recipe in real}) == 1


# Other pages of the same records.


@pytest.fixture(scope="module")
def others(record_set, page_set, tmp_path_factory):
    conditions = [Condition(style="standard", camera="photo"), Condition(style="12x1", camera="clean")]
    with InlineExecutor() as executor:
        return draw_other_pages(
            conditions,
            record_set=record_set,
            page_set=page_set,
            folder=tmp_path_factory.mktemp("others"),
            executor=executor,
        )


def test_each_network_is_asked_about_other_pages_of_its_own_fold(said, record_set, page_set, others, tmp_path):
    how = {"page_set": page_set, "recipe": SMALL, "seed": 5, "folds": FOLDS}
    again = out_of_fold(record_set, others=others, cache=tmp_path, **how)
    assert np.array_equal(again.logits, said.logits), "to be asked more changes nothing that was answered"
    photo, long_strips = again.others
    assert photo.shape == long_strips.shape == said.logits.shape
    assert not np.array_equal(photo, said.logits)
    assert not np.array_equal(photo, long_strips)
    # What the page set holds of the standard style is what the network was asked about first.
    standard = replace(others[0], page_set=page_set)
    assert np.array_equal(out_of_fold(record_set, others=[standard], cache=tmp_path, **how).others[0], said.logits), (
        "the same page has the same answer, in whichever set it lies"
    )


def test_a_style_that_there_is_not_is_refused_by_name():
    params = PARAMS.model_copy(update={"other_pages": (OtherPage(style="papyrus", camera="clean"),)})
    with pytest.raises(InputError, match=r"compare\.other_pages: there is no style 'papyrus'; known: \['12x1'"):
        _other_pages_of(params, record_set=None, page_set=None, cache=None)


def test_other_pages_are_drawn_once(record_set, page_set, others, monkeypatch):
    monkeypatch.setattr("vizecg.other_pages.pages_of", None)
    with InlineExecutor() as executor:
        again = draw_other_pages(
            [each.condition for each in others],
            record_set=record_set,
            page_set=page_set,
            folder=others[0].page_set.folder.parent,
            executor=executor,
        )
    assert [each.digest for each in again] == [each.digest for each in others]


def test_who_was_asked_about_other_pages_need_not_be_trained_again_without_them(
    record_set, page_set, others, monkeypatch, tmp_path
):
    seen = watched(monkeypatch)
    how = {"page_set": page_set, "recipe": SMALL, "seed": 5, "folds": FOLDS[:2], "cache": tmp_path}
    asked = out_of_fold(record_set, others=others, **how)
    assert len(seen) == 2
    assert np.array_equal(out_of_fold(record_set, **how).logits, asked.logits)
    out_of_fold(record_set, others=others[:1], **how)
    assert len(seen) == 2
    next(iter(tmp_path.glob(f"fold-02-*-{others[1].digest[:16]}.npz"))).unlink()
    assert np.array_equal(out_of_fold(record_set, others=others, **how).others, asked.others)
    assert len(seen) == 3, "one answer was lost, so its fold is trained again"


# Reading the answers.


def made_up(seed=0, records=300, skill=1.5, folds=FOLDS):
    """Answers of a model that is right more often than not."""
    rng = np.random.default_rng(seed)
    labels = (np.random.default_rng(99).random((records, 5)) < 0.3).astype(np.uint8)
    return OutOfFold(
        rows=np.arange(records),
        folds=np.resize(np.asarray(folds), records),
        networks=np.resize(np.asarray(folds), records),
        labels=labels,
        logits=(rng.normal(size=(records, 5)) + skill * (labels - 0.5)).astype(np.float32),
        codes=CODES,
    )


def test_labels_of_a_fold_move_neither_its_probabilities_nor_its_thresholds():
    answers = made_up()
    inside = answers.folds == 2
    flipped = answers.labels.copy()
    flipped[inside] = 1 - flipped[inside]
    one = decide(answers, min_positives=10)
    other = decide(
        replace(answers, labels=flipped),
        min_positives=10,
    )
    assert np.array_equal(one.probabilities[inside], other.probabilities[inside])
    assert np.array_equal(one.thresholds[inside], other.thresholds[inside])
    assert not np.array_equal(one.thresholds[~inside], other.thresholds[~inside])


def test_one_fold_alone_has_nobody_to_be_calibrated_on():
    with pytest.raises(InputError, match=r"calibration out of fold needs 2 folds or more, got \[1\]"):
        decide(made_up(folds=(1,)), min_positives=10)


PARAMS = Params(
    folds=FOLDS,
    seeds=(7,),
    challenger="ours",
    margin=0.05,
    min_positives=10,
    min_scored=10,
    resamples=1000,
    seed=1,
    contenders={
        "ours": Contender(),
        "the same": Contender(),
        "better": Contender(),
        "chance": Contender(labels="shuffled"),
        "signal": Contender(changes={"model.architecture": "resnet1d_wang"}),
        "printed": Contender(changes={"model.architecture": "resnet1d_wang_as_printed"}),
    },
)


def answers_of(name, said):
    recipe = PARAMS.contenders[name].recipe(Recipe(), name=name)
    return Answers(recipe=recipe, said=(said,), decided=(decide(said, min_positives=10),))


class Patients:
    """As much of a record set as scoring takes."""

    def __init__(self, records):
        columns = {name: np.arange(records) for name in ("patient_id", "ecg_id", "fold")}
        labels = made_up(records=records).labels
        self.table = pd.DataFrame({**columns, **{code: labels[:, k] for k, code in enumerate(CODES)}})
        self.simulated, self.digest = True, "r" * 64


@pytest.fixture(scope="module")
def contest():
    ours = made_up(seed=1)
    answers = {
        "ours": answers_of("ours", ours),
        "the same": answers_of("the same", ours),
        "chance": answers_of("chance", made_up(seed=2, skill=0.0)),
        "better": answers_of("better", made_up(seed=5, skill=4.0)),
        "signal": answers_of("signal", made_up(seed=3, skill=0.4)),
        "printed": answers_of("printed", made_up(seed=4, skill=0.8)),
    }
    return hold(answers, params=PARAMS, record_set=Patients(300))


def test_scores_are_scikit_learns_and_cut_each_record_by_its_own_folds_threshold(contest):
    said, decided = contest.answers["ours"].said[0], contest.answers["ours"].decided[0]
    called = decided.probabilities >= decided.thresholds
    macro = contest.scores["ours"][7].macro
    # Of probabilities that were calibrated fold by fold.
    assert macro["auroc"].value == pytest.approx(roc_auc_score(said.labels, decided.probabilities), abs=1e-6)
    assert macro["f1"].value == pytest.approx(f1_score(said.labels, called, average="macro"), abs=1e-6)
    assert len(np.unique(decided.thresholds[:, 0])) == len(FOLDS)


def test_the_challenger_is_compared_with_each_of_the_others(contest):
    assert set(contest.differences) == {"the same", "better", "chance", "signal", "printed"}
    same = contest.differences["the same"].macro["auroc"]
    assert (same.difference, same.low, same.high) == (0.0, 0.0, 0.0)
    assert contest.differences["chance"].macro["auroc"].low > 0.2


def test_a_claim_is_made_only_where_the_interval_and_the_corrected_p_value_allow_it(contest):
    found = {claim["against"]: claim for claim in claims(contest, params=PARAMS)}
    assert found["chance"]["superior"] is True
    assert found["printed"]["superior"] is True
    assert found["the same"]["superior"] is False
    assert found["better"]["superior"] is False, "a difference that is sure, the other way"
    assert found["better"]["p_holm"] < 0.05
    assert found["the same"]["not_inferior"] is True
    # Five contenders in four metrics were asked about.
    raw = contest.differences["chance"].macro["auroc"]
    assert raw.p_holm >= raw.p
    assert best_signal_model(contest) == "signal", "what is printed is better here, and not the whole signal"
    assert [name for name, claim in found.items() if claim["is_best_signal_model"]] == ["signal"]


def test_a_comparison_is_files_that_a_person_and_a_program_read(contest, tmp_path):
    content = write(tmp_path, contest, params=PARAMS, record_set=Patients(300), page_set=Patients(300))
    assert json.loads((tmp_path / "comparison.json").read_text()) == json.loads(json.dumps(content))
    table = (tmp_path / "comparison.md").read_text()
    auroc = content["contenders"]["ours"]["macro"]["auroc"]["value"]
    assert f"| ours | page | {auroc:.3f} (" in table
    assert "| printed | signal |" in table
    assert "- Against signal, the best that reads whole signals:" in table
    within = content["differences"]["chance"]["macro"]["auroc_within"]
    assert within["a"] == pytest.approx(within_folds_by_sklearn(contest.answers["ours"].said[0]), abs=1e-6)
    assert f"| {within['difference']:+.3f} ({within['low']:+.3f} to {within['high']:+.3f}) |\n" in table
    predictions = pd.read_parquet(tmp_path / "predictions.parquet")
    assert len(predictions) == 6 * 300
    assert predictions["contender"].nunique() == 6


def within_folds_by_sklearn(said):
    """Macro AUROC of the pairs of a fold, weighted by how many there are."""
    of_classes = []
    for truth, logits in zip(said.labels.astype(bool).T, said.logits.T, strict=True):
        folds = [said.folds == fold for fold in FOLDS]
        pairs = [truth[fold].sum() * (~truth[fold]).sum() for fold in folds]
        of_classes.append(np.average([roc_auc_score(truth[fold], logits[fold]) for fold in folds], weights=pairs))
    return np.mean(of_classes)


@dataclass(frozen=True)
class Shown:
    """As much of other pages as scoring takes."""

    condition: Condition

    def is_ecg(self, rows):
        return np.arange(len(rows)) >= 7


def test_other_pages_are_scored_beside_the_standard_page_of_the_same_records(tmp_path):
    ours = made_up(seed=1)
    worse = replace(ours, others=(made_up(seed=2, skill=0.3).logits,))
    answers = {"ours": answers_of("ours", worse), "signal": answers_of("signal", made_up(seed=3))}
    others = [Shown(Condition(style="standard", camera="photo"))]
    contest = hold(answers, params=PARAMS, record_set=Patients(300), others=others)
    (cell,) = contest.on_other_pages["ours"]
    assert cell.auroc == pytest.approx(roc_auc_score(worse.labels, worse.others[0]), abs=1e-6)
    clean = roc_auc_score(ours.labels, ours.logits)
    assert cell.difference == pytest.approx(cell.auroc - clean, abs=1e-6)
    assert cell.low < cell.difference < cell.high < 0
    assert cell.refused == 7
    content = write(tmp_path, contest, params=PARAMS, record_set=Patients(300), page_set=Patients(300))
    assert f"| ours | standard | photo | 300 | 7 | {cell.auroc:.3f} | {cell.difference:+.3f} (" in markdown(content)


def test_a_name_with_a_bar_does_not_break_the_table(contest, tmp_path):
    content = write(tmp_path, contest, params=PARAMS, record_set=Patients(300), page_set=Patients(300))
    content["contenders"] = {"a | b": content["contenders"]["ours"]}
    assert r"| a \| b | page |" in markdown(content)


def test_the_table_says_how_many_folds_were_left_out_together(contest, tmp_path):
    params = PARAMS.model_copy(update={"held_out": 2})
    content = write(tmp_path, contest, params=params, record_set=Patients(300), page_set=Patients(300))
    assert "records, folds 1 to 3, 2 at a time. Out of fold" in markdown(content)


def test_contenders_that_answered_other_records_are_not_compared():
    answers = {"ours": answers_of("ours", made_up()), "chance": answers_of("chance", made_up(records=200))}
    with pytest.raises(InputError, match=r"contender 'chance' answered other records"):
        hold(answers, params=PARAMS, record_set=Patients(300))


# Section compare.


def test_a_contender_is_section_train_but_for_its_changes():
    base = Recipe(epochs=3)
    recipe = Contender(changes={"distillation.weight": 0}).recipe(base, name="plain")
    assert recipe == base.model_copy(update={"distillation": recipe.distillation})
    assert recipe.distillation.weight == 0


def test_a_rival_has_its_published_size_whatever_ours_is():
    base = Recipe.model_validate({"model": {"image_width": 64, "dim": 32}, "epochs": 3})
    rival = Contender(changes={"model.architecture": "resnet18"}).recipe(base, name="rival")
    assert (rival.model.architecture, rival.epochs) == ("resnet18", 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, r"compare\.contenders\.it: section train has no parameter 'epoch'"),
        ({"model.size.width": 3}, r"section train has no parameter 'model\.size\.width'"),
        ({"epochs": 0}, r"compare\.contenders\.it: epochs: Input should be greater than or equal to 1"),
        ({"model.architecture": "vgg"}, r"compare\.contenders\.it: model\.architecture: Input should be"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Contender(changes=changes).recipe(Recipe(), name="it")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"challenger": "nobody"}, r"challenger 'nobody' is no contender"),
        ({"folds": (1, 11)}, r"folds must be distinct and from 1 to 10"),
        ({"folds": (1, 1)}, r"folds must be distinct and from 1 to 10"),
        ({"held_out": 3}, r"held_out 3 of 3 folds leaves none to learn from"),
        ({"seeds": (7, 7)}, r"seeds must be distinct"),
        ({"other_pages": [{"style": "standard"}]}, r"camera\n  Field required"),
        ({"resamples": 200}, r"20 differences corrected for their number need 800 resamples or more"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Params.model_validate({**PARAMS.model_dump(), **changes})


def test_every_contender_of_the_repository_can_be_trained():
    params = read_params(Path(__file__).parent.parent / "params.yaml", models=params_models())
    base = Recipe.model_validate(params["train"].model_dump(exclude={"seed"}))
    for name, contender in params["compare"].contenders.items():
        contender.recipe(base, name=name)


def test_a_contender_that_there_is_not_is_refused_by_name():
    with pytest.raises(InputError, match=r"there is no contender 'they'; section compare has \['better'"):
        names_of(["they"], params=PARAMS)


def test_decided_is_of_every_record():
    decided = decide(made_up(), min_positives=10)
    assert isinstance(decided, Decided)
    assert np.isfinite(decided.probabilities).all()
    assert ((decided.thresholds > 0) & (decided.thresholds < 1)).all()
