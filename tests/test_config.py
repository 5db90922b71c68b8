import pytest
import yaml
from pydantic import Field

from vizecg.config import Section, assignment, override, read_params
from vizecg.errors import InputError


class Schedule(Section):
    epochs: int = Field(ge=1)


class Train(Section):
    learning_rate: float = Field(gt=0)
    schedule: Schedule


class Render(Section):
    copies: int
    style: str = "standard"


MODELS = {"render": Render, "train": Train}
GOOD = """\
# numbers
render:
  copies: 2 # the first is clean
train:
  learning_rate: 0.1
  schedule: {epochs: 5}
"""


@pytest.fixture
def params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(GOOD)
    return path


def test_sections_come_back_typed(params):
    read = read_params(params, models=MODELS)
    assert read == {"render": Render(copies=2), "train": Train(learning_rate=0.1, schedule=Schedule(epochs=5))}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("render:", "rendr:", r"has no section 'rendr' \(did you mean 'render'\?\)", id="section-typo"),
        pytest.param("copies:", "copys:", r"render.copys is not a parameter \(did you mean 'copies'\?\)", id="typo"),
        pytest.param("epochs:", "epoch:", r"train.schedule.epoch is not a parameter .*'epochs'", id="nested-typo"),
        pytest.param("copies: 2", "copies: two", "render.copies is 'two': input should be a valid integer", id="type"),
        pytest.param("0.1", "-1", "train.learning_rate is -1: input should be greater than 0", id="range"),
        pytest.param("  copies: 2 # the first is clean", "  {}", "render.copies is missing", id="missing-value"),
        pytest.param(
            "render:\n  copies: 2 # the first is clean\n", "", "lacks the section 'render'", id="missing-section"
        ),
        pytest.param("copies: 2", "copies: [2", "line .* is not YAML", id="not-yaml"),
        pytest.param(
            "  copies: 2", "  copies: 3\n  copies: 2", "line 4 is not YAML: the key 'copies' stands", id="twice"
        ),
        pytest.param(
            "epochs: 5", "epochs: 5, epochs: 6", "line 6 is not YAML: the key 'epochs' stands", id="twice-flow"
        ),
        pytest.param(GOOD, "- 1", "must hold sections, got list", id="a-list"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(params, old, new, message):
    assert old in GOOD
    params.write_text(GOOD.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        read_params(params, models=MODELS)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"params.yaml is not there; run from the folder that holds it"):
        read_params(tmp_path / "params.yaml", models=MODELS)


def test_an_override_changes_the_value_and_keeps_the_comments(params):
    override(params, ["render.copies=3", "train.schedule.epochs=7"], models=MODELS)
    read = read_params(params, models=MODELS)
    assert read["render"] == Render(copies=3)
    assert read["train"] == Train(learning_rate=0.1, schedule=Schedule(epochs=7))
    assert "# the first is clean" in params.read_text()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("render.copies", "is not of the form section.name=value"),
        ("copies=3", "is not of the form section.name=value"),
        ("render.copy=3", "has no parameter 'render.copy'"),
        ("rendering.copies=3", "has no parameter 'rendering.copies'"),
        ("render.copies.first=3", "has no parameter 'render.copies.first'"),
        ("render.copies=[", "override 'render.copies=\\[': its value is not YAML"),
        ("render.copies=2026-13-40", "its value is not YAML .*month must be in 1..12"),
        ("train.schedule.epochs=0", "train.schedule.epochs is 0: input should be greater than or equal to 1"),
    ],
)
def test_a_bad_override_is_refused_and_changes_nothing(params, assignment, message):
    with pytest.raises(InputError, match=message):
        override(params, ["render.copies=9", assignment], models=MODELS)
    assert params.read_text() == GOOD


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            GOOD.replace("render:", "rendr:"), r"has no section 'rendr' \(did you mean 'render'\?\)", id="section-typo"
        ),
        pytest.param("render:\n  copies: 2\n", "lacks the section 'train'", id="missing-section"),
        pytest.param(f"{GOOD}1: 2\n", "has no section '1'", id="a-number"),
        pytest.param(
            GOOD.replace("0.1", "0.1\n  learning_rate: 0.2"),
            "line 6 is not YAML: the key '.*' stands there twice",
            id="key",
        ),
        pytest.param(
            f"{GOOD}render:\n  copies: 3\n", "line 7 is not YAML: the key '.*' stands there twice", id="section"
        ),
    ],
)
def test_an_override_of_a_file_with_a_mistake_is_one_sentence_about_the_file(params, content, message):
    params.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        override(params, ["render.copies=3"], models=MODELS)
    assert "\n" not in str(caught.value)
    assert params.read_text() == content


@pytest.mark.parametrize(
    "value",
    ["/data/a #b", "a: b", "yes", "1e3", "", 'it "is"', "[", "ä\U0001f600", "a\n\\n", "a" * 300 + " b", 3, 0.5, True],
)
def test_an_assignment_is_read_back_as_the_very_value(params, value):
    params.write_text(GOOD.replace("copies: 2", "copies: 2\n  style: standard"))

    class AnyRender(Render):
        style: object

    override(params, [assignment("render.style", value)], models={**MODELS, "render": AnyRender})
    read = yaml.safe_load(params.read_text(encoding="utf-8"))["render"]["style"]
    assert (type(read), read) == (type(value), value)
