"""A label map says what foreign labels mean, or in one sentence why it cannot be used."""

import pytest

from vizecg.errors import InputError
from vizecg.label_map import PLAIN, read_label_map
from vizecg.labels import TASKS

GOOD = "label,code,note\nHerzinfarkt,MI,\nHinterwandinfarkt,IMI,inferior\nLinkstyp,,no diagnosis\n"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "map.csv").write_text(GOOD)
    return tmp_path / "map.csv"


def test_labels_become_classes_of_the_task(path):
    label_map = read_label_map(path)
    labels = ["Hinterwandinfarkt", "Linkstyp", "Unbekanntes"]
    assert label_map.classes_of(labels, task=TASKS["superdiagnostic"]) == ("MI",)
    assert label_map.classes_of(labels, task=TASKS["subdiagnostic"]) == ("IMI",)
    assert label_map.classes_of(["Herzinfarkt"], task=TASKS["superdiagnostic"]) == ("MI",)
    assert label_map.classes_of(["Herzinfarkt"], task=TASKS["rhythm"]) == ()
    assert label_map.unknown(labels) == ["Unbekanntes"]


def test_ptb_xls_own_codes_need_no_map():
    assert PLAIN.classes_of(["CLBBB", "HYP"], task=TASKS["superdiagnostic"]) == ("CD", "HYP")
    assert PLAIN.unknown(["CLBBB", "nonsense"]) == ["nonsense"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"label,class\na,MI\n", r"map\.csv lacks the column 'code'; a label map has the columns label, code"),
        (b"", r"map\.csv lacks the column 'label'"),
        (b"label,code\na,XX\n", r"map\.csv line 2: 'XX' is neither a statement nor a class of PTB-XL"),
        (b"label,code\na,MI\na,CD\n", r"map\.csv line 3 maps 'a' a second time"),
        (b"label,code\n,MI\n", r"map\.csv line 2 has no label"),
        (b"label,code\n", r"map\.csv maps no label"),
        (b"\xff\xfe\x00", r"the label map .*map\.csv cannot be read: 'utf-8' codec"),
    ],
)
def test_a_map_that_is_none_is_one_sentence(path, content, message):
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_label_map(path)


def test_a_map_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"the label map .*gone\.csv is not there"):
        read_label_map(tmp_path / "gone.csv")
