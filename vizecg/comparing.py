"""VizECGNet and its rivals on the same records, out of fold: who is better, by how much, and how sure is that?

Every contender is trained as params.yaml says, but for what its entry changes. A training
that is done is kept, so a comparison that was cut off goes on, and one more contender costs
no more than itself. What is claimed is read from paired differences alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from vizecg.config import Section
from vizecg.errors import InputError
from vizecg.out_of_fold import Decided, Labels, OutOfFold, Part, decide, out_of_fold, parts_of
from vizecg.recipe import ModelConfig, Recipe

if TYPE_CHECKING:
    from vizecg.comparison import Comparison, Difference
    from vizecg.metrics import Scores
    from vizecg.other_pages import OtherPages
    from vizecg.pages import PageSet
    from vizecg.records import RecordSet
    from vizecg.robustness import Cell
    from vizecg.training import EpochReport

COMPARED: Final = ("auroc", "precision", "recall", "f1")
"""What the paper reports of VizECGNet against signals, and AUROC, which needs no threshold."""


PAGE: Final = "page"
_ARCHITECTURE: Final = "model.architecture"
_SIGNIFICANT: Final = 0.05


class Contender(Section):
    """What a contender does otherwise than section `train`: `model.architecture: resnet18`, and the like."""

    changes: dict[str, Any] = Field(default={}, description="dotted name of section train -> value")
    labels: Labels = "written"

    def recipe(self, base: Recipe, *, name: str) -> Recipe:
        """The recipe of this contender.

        Raises:
            InputError: there is no such parameter, or its value is not allowed.
        """
        content = base.model_dump(mode="json")
        if self.changes.get(_ARCHITECTURE, base.model.architecture) != base.model.architecture:
            content["model"] = ModelConfig().model_dump(mode="json")  # sizes of ours are not those of a rival
        for dotted, value in self.changes.items():
            *parents, last = dotted.split(".")
            node: dict[str, Any] = content
            for parent in parents:
                inside = node.get(parent)
                node = inside if isinstance(inside, dict) else {}
            if last not in node:
                raise InputError(f"params.yaml: compare.contenders.{name}: section train has no parameter {dotted!r}")
            node[last] = value
        try:
            recipe = Recipe.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "train"
            raise InputError(f"params.yaml: compare.contenders.{name}: {where}: {first['msg']}") from None
        if self.labels == "shuffled" and recipe.pretraining is not None:
            raise InputError(
                f"params.yaml: compare.contenders.{name}: shuffled labels show what is learned from nothing, so "
                "nothing may be known before; add pretraining: null to its changes"
            )
        return recipe


class OtherPage(Section):
    """How the records are printed and photographed once more, for those who read pages."""

    style: str
    camera: str


class Params(Section):
    """Section `compare` of params.yaml."""

    folds: tuple[int, ...] = Field(min_length=2, description="each is scored by who learned from the others")
    held_out: int = Field(
        default=1, ge=1, le=5, description="folds that one training leaves out and scores: 3 of 9 make three trainings"
    )
    seeds: tuple[int, ...] = Field(min_length=1, description="trainings of each contender")
    challenger: str = Field(description="contender that all others are compared with")
    margin: float = Field(gt=0, lt=0.5, description="of macro AUROC that the challenger may lack and be no worse")
    min_positives: int = Field(ge=1, description="of a class outside a fold, for a threshold of its own")
    min_scored: int = Field(ge=1, description="positives, and negatives, of a class in the macro")
    resamples: int = Field(ge=100)
    seed: int = Field(ge=0, description="of the resampling")
    other_pages: tuple[OtherPage, ...] = Field(default=(), description="asked of contenders that read pages alone")
    workers: int = Field(default=2, ge=0, le=256, description="processes that draw other pages")
    contenders: dict[str, Contender] = Field(min_length=2)

    @model_validator(mode="after")
    def _fits_together(self) -> "Params":
        if self.challenger not in self.contenders:
            raise ValueError(f"challenger {self.challenger!r} is no contender; there are {sorted(self.contenders)}")
        if len(set(self.folds)) != len(self.folds) or not set(self.folds) <= set(range(1, 11)):
            raise ValueError(f"folds must be distinct and from 1 to 10, got {list(self.folds)}")
        if len(parts_of(self.folds, held_out=self.held_out)) < 2:
            raise ValueError(f"held_out {self.held_out} of {len(self.folds)} folds leaves none to learn from")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must be distinct, got {list(self.seeds)}")
        # No counted p-value is below 2 / (resamples + 1), and Holm multiplies the smallest by how many there are.
        asked = (len(self.contenders) - 1) * len(COMPARED)
        if 2 * asked / (self.resamples + 1) >= _SIGNIFICANT:
            least = round(2 * asked / _SIGNIFICANT)
            raise ValueError(
                f"{asked} differences corrected for their number need {least} resamples or more to be told from "
                f"chance, got {self.resamples}"
            )
        return self


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """One contender's answers to all records, one training run for each seed.

    Attributes:
        recipe: how it was trained.
        said: of each seed.
        decided: of each seed.
    """

    recipe: Recipe
    said: tuple[OutOfFold, ...]
    decided: tuple[Decided, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Contest:
    """All contenders on the records that all of them answered.

    Attributes:
        scores: contender -> seed -> scores.
        differences: contender -> challenger minus it; none for the challenger itself.
        answers: contender -> what it said.
        reads: contender -> page, signal, or both.
        on_other_pages: contender -> each other page beside the clean standard page of the same records.
    """

    scores: Mapping[str, Mapping[int, "Scores"]]
    differences: Mapping[str, "Comparison"]
    answers: Mapping[str, Answers]
    reads: Mapping[str, str]
    on_other_pages: Mapping[str, tuple["Cell", ...]]


def answer(
    name: str,
    *,
    params: Params,
    base: Recipe,
    record_set: "RecordSet",
    page_set: "PageSet",
    cache: Path,
    others: Sequence["OtherPages"] = (),
    on_part: Callable[[str, int, Part, bool], None] | None = None,
    on_epoch: Callable[[Part, "EpochReport"], None] | None = None,
) -> Answers:
    """Train a contender on every part's others, with every seed, and read its answers.

    Args:
        name: of the contender.
        params: of the comparison.
        base: section train.
        record_set: the records; only those with a signal take part, for not every contender reads pages.
        page_set: their pages.
        cache: folder of fold results.
        others: other pages of the records; shown to who reads pages alone.
        on_part: hears of contender, seed, the folds left out and whether it was done before.
        on_epoch: hears of the folds left out and of the epoch.
    """
    contender = params.contenders[name]
    recipe = contender.recipe(base, name=name)
    said = tuple(
        out_of_fold(
            record_set,
            page_set=page_set,
            recipe=recipe,
            seed=seed,
            labels=contender.labels,
            folds=params.folds,
            held_out=params.held_out,
            cache=cache,
            others=others if reads_of(recipe) == PAGE else (),
            on_part=None if on_part is None else _of_seed(on_part, name, seed),
            on_epoch=on_epoch,
        )
        for seed in params.seeds
    )
    return Answers(
        recipe=recipe, said=said, decided=tuple(decide(each, min_positives=params.min_positives) for each in said)
    )


def hold(
    answers: Mapping[str, Answers],
    *,
    params: Params,
    record_set: "RecordSet",
    others: Sequence["OtherPages"] = (),
) -> Contest:
    """Score all contenders and compare the challenger with each of the others, on the same records.

    Args:
        answers: contender -> what it said.
        params: of the comparison.
        record_set: the records.
        others: the other pages that were asked about.

    Raises:
        InputError: contenders answered different records.
    """
    from vizecg.comparison import WITHIN, Run, compare, corrected
    from vizecg.metrics import score

    first = next(iter(answers.values())).said[0]
    for name, each in answers.items():
        if not all(np.array_equal(said.rows, first.rows) for said in each.said):
            raise InputError(f"contender {name!r} answered other records than the others; compare one record set")
    patient_ids = record_set.table["patient_id"].to_numpy()[first.rows]
    how: dict[str, Any] = {
        "codes": first.codes,
        "patient_ids": patient_ids,
        "min_scored": params.min_scored,
        "resamples": params.resamples,
        "seed": params.seed,
    }
    scores = {
        name: {
            seed: score(first.labels, decided.probabilities, thresholds=decided.thresholds, **how)
            for seed, decided in zip(params.seeds, each.decided, strict=True)
        }
        for name, each in answers.items()
    }
    ours = answers[params.challenger].decided
    differences = {}
    for name, each in answers.items():
        if name != params.challenger:
            runs = [
                Run(a=a.probabilities, b=b.probabilities, a_thresholds=a.thresholds, b_thresholds=b.thresholds)
                for a, b in zip(ours, each.decided, strict=True)
            ]
            differences[name] = compare(first.labels, runs, names=(*COMPARED, WITHIN), parts=first.networks, **how)
    return Contest(
        scores=scores,
        differences=_corrected(differences, corrected),
        answers=answers,
        reads={name: reads_of(each.recipe) for name, each in answers.items()},
        on_other_pages={
            name: _on_other_pages(each, params=params, patient_ids=patient_ids, others=others)
            for name, each in answers.items()
            if each.said[0].others
        },
    )


def _on_other_pages(
    answers: Answers, *, params: Params, patient_ids: NDArray[Any], others: Sequence["OtherPages"]
) -> tuple["Cell", ...]:
    """Every other page against the clean standard page of the same records, the first training's networks asked."""
    from vizecg.robustness import REFERENCE, Reading, compare

    said = answers.said[0]
    reference = Reading(condition=REFERENCE, logits=said.logits, is_ecg=np.ones(len(said.rows), bool))
    return tuple(
        compare(
            Reading(condition=other.condition, logits=logits, is_ecg=other.is_ecg(said.rows)),
            reference,
            labels=said.labels,
            patient_ids=patient_ids,
            codes=said.codes,
            resamples=params.resamples,
            seed=params.seed,
        )
        for other, logits in zip(others, said.others, strict=True)
    )


def reads_of(recipe: Recipe) -> str:
    """What a network answers from: page, signal, or both."""
    if recipe.model.architecture == "late_fusion":
        return "both"
    return "signal" if recipe.model.needs_signal else PAGE


def best_signal_model(contest: Contest) -> str | None:
    """Of the contenders that read whole signals, the one with the highest macro AUROC: the hardest to beat."""
    means = {
        name: np.mean([_value(scores) for scores in contest.scores[name].values()])
        for name, reads in contest.reads.items()
        if reads == "signal" and "as_printed" not in contest.answers[name].recipe.model.architecture
    }
    return max(means, key=lambda name: float(means[name])) if means else None


def claims(contest: Contest, *, params: Params) -> list[dict[str, Any]]:
    """The paper's claim in our protocol, sentence by sentence, each with the difference it is read from."""
    from vizecg.comparison import non_inferiority

    found = []
    for name, comparison in contest.differences.items():
        difference = comparison.macro["auroc"]
        stated = non_inferiority(difference, margin=params.margin)
        found.append(
            {
                "against": name,
                "is_best_signal_model": name == best_signal_model(contest),
                "superior": _superior(difference),
                "not_inferior": stated.holds,
                "margin": params.margin,
                "sentence": stated.sentence,
                "difference": difference.difference,
                "low": difference.low,
                "high": difference.high,
                "p_holm": difference.p_holm,
            }
        )
    return found


def _superior(difference: "Difference") -> bool | None:
    if difference.low is None or difference.p_holm is None:
        return None
    return difference.low > 0 and difference.p_holm < _SIGNIFICANT


def _corrected(
    differences: Mapping[str, "Comparison"], corrected: Callable[[Mapping[str, "Difference"]], dict[str, "Difference"]]
) -> dict[str, "Comparison"]:
    """Every macro difference that was asked for is one of the family that Holm corrects."""
    from dataclasses import replace

    family = corrected(
        {f"{name}\n{metric}": found.macro[metric] for name, found in differences.items() for metric in COMPARED}
    )
    return {
        name: replace(found, macro={**found.macro, **{metric: family[f"{name}\n{metric}"] for metric in COMPARED}})
        for name, found in differences.items()
    }


def _value(scores: "Scores") -> float:
    value = scores.macro["auroc"].value
    return math.nan if value is None else value


def _of_seed(on_part: Callable[[str, int, Part, bool], None], name: str, seed: int) -> Callable[[Part, bool], None]:
    return lambda part, done: on_part(name, seed, part, done)


def names_of(chosen: Sequence[str], *, params: Params) -> list[str]:
    """The contenders asked for, or all.

    Raises:
        InputError: there is none of such a name.
    """
    if unknown := [name for name in chosen if name not in params.contenders]:
        raise InputError(f"there is no contender {unknown[0]!r}; section compare has {sorted(params.contenders)}")
    return list(chosen) or list(params.contenders)
