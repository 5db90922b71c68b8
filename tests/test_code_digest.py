"""The digest of our code: it moves when what is named changes, and only then."""

import pytest

from vizecg.code_digest import DRAWING, digest_of_code


@pytest.fixture
def package(tmp_path):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "draw.py").write_text("INK = 1\n")
    (tmp_path / "page" / "styles.csv").write_text("name\n")
    (tmp_path / "losses.py").write_text("LOSS = 1\n")
    return tmp_path


def digest(package):
    return digest_of_code(["page", "losses"], package=package)


@pytest.mark.parametrize("path", ["page/draw.py", "page/styles.csv", "losses.py"])
def test_a_change_of_what_is_named_is_noticed(package, path):
    before = digest(package)
    (package / path).write_text("other\n")
    assert digest(package) != before


def test_what_moves_from_one_file_to_another_is_noticed(package):
    before = digest(package)
    (package / "page" / "draw.py").rename(package / "page" / "drawing.py")
    assert digest(package) != before


def test_what_python_leaves_beside_its_sources_and_what_is_not_named_are_nothing(package):
    before = digest(package)
    (package / "page" / "__pycache__").mkdir()
    (package / "page" / "__pycache__" / "draw.cpython-311.pyc").write_bytes(b"\0")
    (package / "other.py").write_text("OTHER = 1\n")
    assert digest(package) == before
    assert digest_of_code(["losses", "page"], package=package) == before


def test_a_part_that_there_is_not_is_an_error():
    with pytest.raises(FileNotFoundError, match="drawing"):
        digest_of_code([*DRAWING, "drawing"])
