"""What the README tells people to type exists."""

import json
import re
from pathlib import Path

import click
import pytest

from vizecg import steps
from vizecg.cli import cli, evaluate_images

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
# What the README says of other programs is held by tests of its own: tests/test_dvc.py.
OURS = "\n".join(line for line in README.splitlines() if not line.startswith("dvc "))
MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make ([a-z-]+)", README, flags=re.MULTILINE))))
def test_every_make_target_exists(target):
    assert re.search(rf"^{target}:", MAKEFILE, flags=re.MULTILINE)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?:^|`)vizecg ([a-z]+)", README, flags=re.MULTILINE))))
def test_every_command_exists(command):
    assert command in steps.NAMES or command in cli.commands


@pytest.mark.parametrize("option", sorted(set(re.findall(r"(--[a-z]+(?:-[a-z]+)*)", OURS)) - {"--data-binary"}))
def test_every_option_exists(option):
    groups = [command for command in cli.commands.values() if isinstance(command, click.Group)]
    below = [command for group in groups for command in group.commands.values()]
    commands = [*cli.commands.values(), *below, evaluate_images]
    known = {name for command in commands for parameter in command.params for name in parameter.opts}
    assert option in known


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:docs|vizecg|flows|serving|data)/[a-z/_.]*)`", README))))
def test_every_path_is_there_or_made_by_a_stage(path):
    made = re.findall(
        r"^      - (data/\S+|reports/\S+|models/\S+)", (ROOT / "dvc.yaml").read_text(), flags=re.MULTILINE
    )
    # The folders that hold outputs are made with them.
    outputs = {*made, "data/", "models/", "reports/"}
    assert (ROOT / path).exists() or any(path.startswith(out) for out in outputs)


def test_no_blank_was_left_to_fill_in():
    assert "@@" not in README


def test_speeds_are_those_that_were_measured():
    found = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    told = README.partition("## How fast\n")[2].partition("\n## ")[0]
    for entry in found["entries"]:
        (row,) = [
            line for line in told.splitlines() if line.startswith(f"| {entry['name']} | ") and _peer(entry) in line
        ]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if "ours_ms" in entry:
            assert milliseconds(cells[1]) == pytest.approx(entry["ours_ms"]["median"], rel=0.006)
        else:
            numbers = re.findall(r"(?<![\dp])\d+(?:\.\d+)?", cells[1])  # of p50 and p99 none
            assert numbers
            for number in numbers:
                assert any(float(number) == pytest.approx(shown, rel=0.04) for shown in shown_as(entry["figures"])), row
        if "peer" in entry:
            assert milliseconds(cells[2].removeprefix(entry["peer"])) == pytest.approx(
                entry["peer_ms"]["median"], rel=0.006
            )
            ratio = {
                key: f"{value:.{0 if entry['ratio']['median'] >= 10 else 1}f}" for key, value in entry["ratio"].items()
            }
            assert cells[3] == f"{ratio['median']} ({ratio['low']}–{ratio['high']})"
    for name in ("command", "cpu", "python", "date", "records"):
        assert found[name] in told


def milliseconds(cell):
    return float(re.fullmatch(r" ?(\d+(?:\.\d+)?) ms", cell)[1])


def shown_as(figures):
    """Every figure as it is, and as a percentage."""
    return [shown for value in figures.values() for shown in (value, 100 * value)]


def _peer(entry):
    return f"| {entry['peer']} " if "peer" in entry else "| "
