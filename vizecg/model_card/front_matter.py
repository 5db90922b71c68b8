"""What stands before a model card for machines: the YAML that the Hugging Face Hub reads."""

from collections.abc import Mapping
from typing import Any, Final

import yaml

from vizecg.bundle import Contract
from vizecg.protocol import words_of
from vizecg.public import is_ptbxl

LICENCE: Final = "apache-2.0"
_TAGS: Final = ("ecg", "electrocardiogram", "medical", "multi-label", "knowledge-distillation", "onnx")
_METRICS: Final = {
    "auroc": ("roc_auc", "macro AUROC"),
    "auprc": ("average_precision", "macro AUPRC"),
    "f1": ("f1", "macro F1"),
    "precision": ("precision", "macro precision"),
    "recall": ("recall", "macro recall"),
    "brier": ("brier_score", "macro Brier score"),
}
"""Ours -> the Hub's, and how it is shown."""


def front_matter(contract: Contract, *, scores: Mapping[str, Any], source: Mapping[str, Any]) -> str:
    """Give the YAML between its two lines of dashes; only metrics that were measured are in it."""
    measured = {name: value for name in _METRICS if (value := scores["macro"].get(name)) is not None}
    content: dict[str, Any] = {
        "license": LICENCE,
        "library_name": "onnx",
        "pipeline_tag": "image-classification",
        "tags": [*_TAGS, *(["simulated-data"] if contract.simulated else [])],
        "datasets": _datasets(source, simulated=contract.simulated),
        "metrics": [_METRICS[name][0] for name in measured],
    }
    if measured:
        content["model-index"] = [
            {"name": contract.model_name, "results": [_result(contract, measured, content, scores=scores)]}
        ]
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---"


def _result(
    contract: Contract, measured: Mapping[str, float], content: Mapping[str, Any], *, scores: Mapping[str, Any]
) -> dict[str, Any]:
    names = content["datasets"]
    return {
        "task": {"type": "image-classification", "name": f"printed 12-lead ECG, {contract.task}"},
        "dataset": {"type": names[0], "name": " + ".join(names), "split": words_of(scores).scored_on},
        "metrics": [
            {"type": _METRICS[name][0], "name": _METRICS[name][1], "value": round(value, 6)}
            for name, value in measured.items()
        ],
    }


def _datasets(source: Mapping[str, Any], *, simulated: bool) -> list[str]:
    """Names that mean something outside; what a folder is called here does not."""
    parts = source.get("parts") or ({"uri": source["uri"], "simulated": simulated},)
    names = (
        "simulated-ecg" if part["simulated"] else "ptb-xl" if is_ptbxl(part["uri"]) else "own-records" for part in parts
    )
    return list(dict.fromkeys(names))
