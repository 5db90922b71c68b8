"""What the monitor leaves: JSON for programs, a text file for Prometheus, a page for people."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from vizecg.monitoring.page import page_of
from vizecg.publish import to_json

JSON_FILE: Final = "monitor.json"
PROMETHEUS_FILE: Final = "monitor.prom"
PAGE_FILE: Final = "index.html"


def write(folder: Path, report: Mapping[str, Any], *, well: bool) -> None:
    """Fill a staging folder."""
    (folder / JSON_FILE).write_text(to_json(report), encoding="utf-8")
    (folder / PROMETHEUS_FILE).write_text("".join(f"{line}\n" for line in _metrics(report)), encoding="utf-8")
    (folder / PAGE_FILE).write_text(page_of(report, well=well), encoding="utf-8")


def _metrics(report: Mapping[str, Any]) -> Iterator[str]:
    """The text format, for node_exporter's collector of text files."""
    yield from _metric("vizecg_monitor_time_seconds", "when the monitor looked", [({}, _seconds(report["time"]))])
    yield from _metric(
        "vizecg_monitor_attention",
        "1 where somebody should look",
        [({"about": look["about"]}, 0 if look["well"] else 1) for look in report["looks"]],
    )
    yield from _metric("vizecg_monitor_pictures", "in the window", [({}, report["window"]["pictures"])])
    shifts = [shift for shift in report["shifts"] if shift["psi"] is not None]
    named = [({"measure": shift["name"], "kind": shift["kind"]}, shift) for shift in shifts]
    yield from _metric(
        "vizecg_drift_psi",
        "population stability index against the reference",
        [(of, each["psi"]) for of, each in named],
    )
    yield from _metric(
        "vizecg_drift_psi_by_chance",
        "its mean had both sets come from one source",
        [(of, each["psi_by_chance"]) for of, each in named],
    )
    yield from _metric(
        "vizecg_drift_p", "after Holm's correction over all measures", [(of, each["p"]) for of, each in named]
    )
    live = report["live"]
    yield from _metric("vizecg_confirmed_answers", "in the window", [({}, live["confirmed"])])
    if live["auroc"] is not None:
        ends = zip(("value", "low", "high"), live["auroc"], strict=True)
        values = [({"of": name}, value) for name, value in ends if value is not None]
        yield from _metric("vizecg_live_macro_auroc", "on confirmed diagnoses, with its 95 % interval", values)
    if live["calibration_error"] is not None:
        yield from _metric("vizecg_live_calibration_error", "on confirmed diagnoses", [({}, live["calibration_error"])])


def _metric(name: str, about: str, values: list[tuple[dict[str, str], float]]) -> Iterator[str]:
    if not values:
        return
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} gauge"
    for labels, value in values:
        inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{inside}}} {value!r}" if inside else f"{name} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _seconds(time: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(time).timestamp()
