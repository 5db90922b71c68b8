"""The tasks are those of the PTB-XL benchmark, and their classes those of PTB-XL's own tables."""

import ast
from collections import Counter

import pandas as pd
import pytest

from vizecg.errors import InputError
from vizecg.labels import TASKS, task_of
from vizecg.statements import STATEMENTS

# Strodthoff et al. 2020, table II: number of classes of each task.
CLASSES = {"superdiagnostic": 5, "subdiagnostic": 23, "diagnostic": 44, "form": 19, "rhythm": 12, "all": 71}
WHOLE = 21_799


def test_every_task_has_as_many_classes_as_the_benchmark():
    assert {name: len(task.classes) for name, task in TASKS.items()} == CLASSES
    for task in TASKS.values():
        assert len(set(task.codes)) == len(task.codes)
        assert all(entry.name for entry in task.classes)


def test_the_default_has_its_classes_in_their_order():
    assert TASKS["superdiagnostic"].codes == ("NORM", "MI", "STTC", "CD", "HYP")


@pytest.mark.parametrize(
    ("task", "statements", "classes"),
    [
        ("superdiagnostic", {"IMI": 80.0, "LVH": 0.0, "SR": 0.0}, ("MI", "HYP")),
        ("superdiagnostic", {"SR": 0.0, "PVC": 100.0}, ()),
        ("subdiagnostic", {"ASMI": 50.0, "AMI": 50.0, "1AVB": 0.0}, ("AMI", "_AVB")),
        ("diagnostic", {"NDT": 100.0, "SR": 0.0}, ("NDT",)),
        ("form", {"NDT": 100.0, "PVC": 0.0, "LVH": 100.0}, ("NDT", "PVC")),
        ("rhythm", {"NORM": 100.0, "SR": 0.0}, ("SR",)),
        ("all", {"NORM": 100.0, "SR": 0.0}, ("NORM", "SR")),
    ],
)
def test_statements_count_whatever_likelihood_is_noted(task, statements, classes):
    assert TASKS[task].classes_of(statements) == classes


def test_an_unknown_task_is_told_with_those_there_are():
    with pytest.raises(InputError, match="there is no task 'super'; allowed are superdiagnostic, subdiagnostic, dia"):
        task_of("super")


@pytest.mark.real
def test_statements_mean_what_ptb_xl_says(real_ptbxl):
    table = pd.read_csv(real_ptbxl / "scp_statements.csv", index_col=0)
    assert [entry.code for entry in STATEMENTS] == table.index.tolist()
    for entry, (_, row) in zip(STATEMENTS, table.iterrows(), strict=True):
        assert (entry.diagnostic, entry.form, entry.rhythm) == tuple(row[["diagnostic", "form", "rhythm"]] == 1)
        if entry.diagnostic:
            assert (entry.superclass, entry.subclass) == (row["diagnostic_class"], row["diagnostic_subclass"])


def counted(folder, task):
    statements = pd.read_csv(folder / "ptbxl_database.csv")["scp_codes"].map(ast.literal_eval)
    return Counter(code for one in statements for code in TASKS[task].classes_of(one))


@pytest.mark.real
def test_the_whole_of_ptb_xl_has_the_published_label_counts(real_ptbxl):
    if len(pd.read_csv(real_ptbxl / "ptbxl_database.csv")) != WHOLE:
        pytest.skip(f"needs all {WHOLE} records of PTB-XL 1.0.3 at VIZECG_TEST_PTBXL")
    published = {"NORM": 9514, "MI": 5469, "STTC": 5235, "CD": 4898, "HYP": 2649}
    assert counted(real_ptbxl, "superdiagnostic") == published
