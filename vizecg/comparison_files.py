"""Comparison: the artefact of `vizecg compare`. Contenders' scores, the differences, and what may be claimed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from vizecg import publish
from vizecg.comparing import COMPARED, Contest, Params, best_signal_model, claims
from vizecg.comparison import WITHIN
from vizecg.errors import InputError

if TYPE_CHECKING:
    from vizecg.other_pages import OtherPages
    from vizecg.out_of_fold import Part
    from vizecg.pages import PageSet
    from vizecg.records import RecordSet

COMPARISON: Final = "comparison"
SCHEMA_VERSION: Final = 1
CONTENT_FILE: Final = "comparison.json"
TABLE_FILE: Final = "comparison.md"
PREDICTIONS_FILE: Final = "predictions.parquet"
_NAMES: Final = {"auroc": "AUROC", "precision": "precision", "recall": "recall", "f1": "F1"}
PROTOCOL: Final = (
    "Out of fold: every record is scored once, by a network, a calibration and thresholds that learned from other "
    "folds. This is our protocol, on our records: nothing here can be set beside figures of another."
)
_WITHIN_SAYS: Final = (
    "Within folds AUROC is over the pairs of records that one network has scored. Networks of different folds have no "
    "common zero, so over all pairs it comes out lower; claims are read from all pairs."
)


def write(
    staging: Path, contest: Contest, *, params: Params, record_set: "RecordSet", page_set: "PageSet"
) -> dict[str, Any]:
    """Fill a staging folder; returns what `comparison.json` says."""
    first = next(iter(contest.answers.values())).said[0]
    content = {
        "schema_version": SCHEMA_VERSION,
        "protocol": PROTOCOL,
        "simulated": record_set.simulated,
        "record_set": record_set.digest,
        "page_set": page_set.digest,
        "records": len(first.rows),
        "folds": list(params.folds),
        "held_out": params.held_out,
        "seeds": list(params.seeds),
        "challenger": params.challenger,
        "best_signal_model": best_signal_model(contest),
        "contenders": {name: _contender(contest, name, params=params) for name in contest.answers},
        "differences": {name: found.to_dict() for name, found in contest.differences.items()},
        "claims": claims(contest, params=params),
        "other_pages": {name: [cell.to_dict() for cell in cells] for name, cells in contest.on_other_pages.items()},
    }
    (staging / CONTENT_FILE).write_text(publish.to_json(content), encoding="utf-8")
    (staging / TABLE_FILE).write_text(markdown(content), encoding="utf-8")
    _predictions(contest, record_set=record_set).to_parquet(staging / PREDICTIONS_FILE, index=False, compression="zstd")
    return content


def markdown(content: Mapping[str, Any]) -> str:
    """One table of all contenders, one of the differences, and the claims, for people."""
    simulated = "simulated " if content["simulated"] else ""
    together = f", {content['held_out']} at a time" if content["held_out"] > 1 else ""
    seeds = f", {len(content['seeds'])} trainings each" if len(content["seeds"]) > 1 else ""
    lines = [
        f"{content['records']:,} {simulated}records, folds {_folds(content['folds'])}{together}{seeds}. "
        f"{content['protocol']}",
        "",
        f"| contender | reads | {' | '.join(_NAMES[name] for name in COMPARED)} |",
        f"|---|---|{'---|' * len(COMPARED)}",
    ]
    for name, entry in content["contenders"].items():
        cells = [_with_interval(entry["macro"].get(metric), signed=False) for metric in COMPARED]
        lines.append(f"| {_escaped(name)} | {entry['reads']} | {' | '.join(cells)} |")
    lines += [
        "",
        f"{_escaped(content['challenger'])} minus each of the others, paired:",
        "",
        f"| minus | {' | '.join(_NAMES[name] for name in COMPARED)} | p (AUROC, Holm) | AUROC within folds |",
        f"|---|{'---|' * len(COMPARED)}---|---|",
    ]
    for name, found in content["differences"].items():
        macro = found["macro"]
        cells = [
            _with_interval({**macro[m], "value": macro[m]["difference"]}, signed=True) for m in (*COMPARED, WITHIN)
        ]
        p_holm = _p(macro["auroc"]["p_holm"])
        lines.append(f"| {_escaped(name)} | {' | '.join(cells[:-1])} | {p_holm} | {cells[-1]} |")
    lines += ["", _WITHIN_SAYS, ""]
    for claim in content["claims"]:
        best = ", the best that reads whole signals" if claim["is_best_signal_model"] else ""
        lines.append(f"- Against {_escaped(claim['against'])}{best}: {_verdict(claim)}")
    lines += _other_pages(content["other_pages"])
    return "\n".join(lines) + "\n"


def _other_pages(cells_of: Mapping[str, Any]) -> list[str]:
    """A table of the same records printed or photographed otherwise; nothing where nobody was asked."""
    rows = [
        f"| {_escaped(name)} | {cell['style']} | {cell['camera']} | {cell['records']} | {cell['refused']} | "
        f"{_with_interval({'value': cell['auroc'], 'low': None, 'high': None}, signed=False)} | "
        f"{_with_interval({**cell, 'value': cell['difference']}, signed=True)} |"
        for name, cells in cells_of.items()
        for cell in cells
    ]
    if not rows:
        return []
    heading = ["", "The same records printed or photographed otherwise, paired with their clean standard page:", ""]
    columns = "| contender | style | camera | records | no ECG to the intake | AUROC | minus the standard page |"
    return [*heading, columns, "|---|---|---|---|---|---|---|", *rows]


def _contender(contest: Contest, name: str, *, params: Params) -> dict[str, Any]:
    scores = contest.scores[name]
    return {
        "reads": contest.reads[name],
        "labels": params.contenders[name].labels,
        "changes": dict(params.contenders[name].changes),
        "macro": {metric: _over_seeds([each.macro[metric] for each in scores.values()]) for metric in COMPARED},
        "by_seed": {str(seed): each.to_dict() for seed, each in scores.items()},
        "pooled_thresholds": [
            {str(fold): list(codes) for fold, codes in decided.pooled.items()}
            for decided in contest.answers[name].decided
        ],
    }


def _over_seeds(estimates: Sequence[Any]) -> dict[str, float | None]:
    """Mean of the seeds' values and of their intervals' ends: patients' chance, not that of the seeds."""
    return {
        part: None if any(getattr(each, part) is None for each in estimates) else _mean(estimates, part)
        for part in ("value", "low", "high")
    }


def _mean(estimates: Sequence[Any], part: str) -> float:
    return float(np.mean([getattr(each, part) for each in estimates]))


def _predictions(contest: Contest, *, record_set: "RecordSet") -> pd.DataFrame:
    parts = []
    for name, answers in contest.answers.items():
        for at, (said, decided) in enumerate(zip(answers.said, answers.decided, strict=True)):
            table = record_set.table.iloc[said.rows][["ecg_id", "patient_id", "fold", *said.codes]]
            columns = {
                f"{what}_{code}": values[:, k]
                for what, values in (
                    ("logit", said.logits),
                    ("probability", decided.probabilities),
                    ("threshold", decided.thresholds),
                )
                for k, code in enumerate(said.codes)
            }
            leading = {"contender": [name] * len(table), "run": [at] * len(table)}
            parts.append(
                pd.concat([pd.DataFrame(leading), table.reset_index(drop=True), pd.DataFrame(columns)], axis=1)
            )
    return pd.concat(parts, ignore_index=True)


def _verdict(claim: Mapping[str, Any]) -> str:
    better = {True: "better", False: "not shown to be better", None: "not decided"}[claim["superior"]]
    return f"{better}; {claim['sentence']}"


def _with_interval(estimate: Mapping[str, Any] | None, *, signed: bool) -> str:
    if estimate is None or estimate["value"] is None:
        return "–"
    sign = "+" if signed else ""
    text = f"{estimate['value']:{sign}.3f}"
    if estimate["low"] is None or estimate["high"] is None:
        return text
    return f"{text} ({estimate['low']:{sign}.3f} to {estimate['high']:{sign}.3f})"


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _folds(folds: Sequence[int]) -> str:
    whole = list(range(min(folds), max(folds) + 1))
    return f"{folds[0]} to {folds[-1]}" if list(folds) == whole else ", ".join(map(str, folds))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def compare_and_write(contenders: Sequence[str], *, records: Path, pages: Path, out: Path, train_only: bool) -> None:
    """Train the contenders named, or all, then compare them and show the comparison in MLflow.

    Args:
        contenders: names of section compare.
        records: record set.
        pages: its page set.
        out: what is published; answers are kept in a hidden folder beside it.
        train_only: stop when the answers are there.

    Raises:
        InputError: a name, a parameter, or a set is not usable.
        Conflict: another process writes the same comparison.
    """
    from vizecg import steps
    from vizecg.comparing import answer, hold, names_of
    from vizecg.config import PARAMS_FILE, read_params
    from vizecg.out_of_fold import CACHE_NAME
    from vizecg.pages import read_page_set
    from vizecg.process import die_with_parent
    from vizecg.recipe import Recipe
    from vizecg.records import read_record_set
    from vizecg.settings import Settings
    from vizecg.tracking import TrackingUnavailable, ensure_comparison

    die_with_parent()
    sections = read_params(PARAMS_FILE, models=steps.params_models())
    params = sections["compare"]
    assert isinstance(params, Params)  # noqa: S101 (params_models says so)
    base = Recipe.model_validate(sections["train"].model_dump(exclude={"seed"}))
    names = names_of(contenders, params=params)
    if params.challenger not in names and not train_only:
        raise InputError(f"the challenger {params.challenger!r} is compared with the others; name it too")
    record_set, page_set = read_record_set(records), read_page_set(pages)
    if page_set.records_digest != record_set.digest:
        raise InputError(f"{pages} was drawn from other records than {records} holds; run render again")
    cache = out.parent / CACHE_NAME
    # One at a time: two that train the same fold would write the same checkpoint.
    with publish.locked(cache):
        others = _other_pages_of(params, record_set=record_set, page_set=page_set, cache=cache)
        answers = {
            name: answer(
                name,
                params=params,
                base=base,
                record_set=record_set,
                page_set=page_set,
                cache=cache,
                others=others,
                on_part=_say_part,
            )
            for name in names
        }
    if train_only:
        print(f"compare: {', '.join(names)}: answers of {len(params.folds)} folds are there")
        return
    contest = hold(answers, params=params, record_set=record_set, others=others)
    with publish.publishing(out, kind=COMPARISON, schema_version=SCHEMA_VERSION) as staging:
        content = write(staging, contest, params=params, record_set=record_set, page_set=page_set)
    print(markdown(content))
    digest = publish.verify(out, kind=COMPARISON, schema_version=SCHEMA_VERSION).digest
    try:
        ensure_comparison(Settings(), folder=out, digest=digest)
    except TrackingUnavailable as error:
        print(f"compare: not shown in MLflow: {error}")


def _other_pages_of(
    params: Params, *, record_set: "RecordSet", page_set: "PageSet", cache: Path
) -> "tuple[OtherPages, ...]":
    from vizecg.executors import PROCESSES, open_executor
    from vizecg.other_pages import draw_other_pages
    from vizecg.robustness import Condition

    # Refused first, before anything is drawn.
    try:
        conditions = [Condition(style=each.style, camera=each.camera) for each in params.other_pages]
    except InputError as error:
        raise InputError(f"compare.other_pages: {error}") from None
    if not conditions:
        return ()
    with open_executor(PROCESSES, workers=params.workers) as executor:
        return draw_other_pages(
            conditions, record_set=record_set, page_set=page_set, folder=cache / "pages", executor=executor
        )


def _say_part(name: str, seed: int, part: "Part", done: bool) -> None:
    left_out = f"{'fold' if len(part) == 1 else 'folds'} {_folds(part)}"
    print(f"compare: {name}, seed {seed}, {left_out}{': was there' if done else ''}", flush=True)
