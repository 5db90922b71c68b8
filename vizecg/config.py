"""params.yaml -> typed, frozen parameters; an unknown key is an error, never ignored."""

import difflib
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from vizecg.errors import InputError
from vizecg.publish import write_atomically

PARAMS_FILE = Path("params.yaml")


class Section(BaseModel):
    """Base of every section of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _OnceLoader(yaml.SafeLoader):
    """As `safe_load`, but a key that stands twice is an error: which of the two was meant, nobody can tell."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value
            if isinstance(key_node, yaml.ScalarNode) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands there twice", key_node.start_mark
                )
            seen.add(str(key))
        return super().construct_mapping(node, deep=deep)


def read_params(path: Path, *, models: Mapping[str, type[BaseModel]]) -> dict[str, BaseModel]:
    """Read and check the whole file, so that a typo in the last section stops the first step.

    Args:
        path: params.yaml.
        models: section name -> its type.

    Raises:
        InputError: the file cannot be read; a section is missing or unknown; a
            value is not allowed. The sentence names every fault.
    """
    content = _read_sections(path, models=models)
    return {name: _check(path, section=name, content=content[name], model=model) for name, model in models.items()}


def override(path: Path, assignments: Sequence[str], *, models: Mapping[str, type[BaseModel]]) -> None:
    """Write `train.epochs=5` and the like into params.yaml; checked first, so a bad one changes nothing.

    Args:
        path: params.yaml.
        assignments: what stands after the first `=` is a value as YAML has it, so text with special
            characters is quoted, `ingest.source="/tmp/a #b"`; `assignment` writes one that way.
        models: section name -> its type.

    Raises:
        InputError: the file's sections are not those of `models`; an assignment is
            malformed, names an unknown parameter or a value that is not allowed.
    """
    # Comments and order of the file are kept, which PyYAML cannot do.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    _read_sections(path, models=models)  # refuses by its sentences, before anything is assigned
    round_trip = YAML()
    round_trip.preserve_quotes = True
    try:
        content = round_trip.load(path.read_text(encoding="utf-8"))
    except YAMLError as error:  # stricter than PyYAML: a key that stands twice
        raise _not_yaml(path, error) from None
    for assigned in assignments:
        _assign(content, assigned, path=path)
    for name, section in content.items():
        _check(path, section=name, content=_plain(section), model=models[name])
    changed = io.StringIO()
    round_trip.dump(content, changed)
    write_atomically(path, changed.getvalue())


def assignment(name: str, value: str | float | bool) -> str:
    """Write `section.name=value` so that `override` reads this very value, whatever characters it holds."""
    quotes = '"' if isinstance(value, str) else None
    written = yaml.safe_dump(value, default_style=quotes, width=math.inf)
    return f"{name}={written.splitlines()[0]}"


def _assign(content: Any, assigned: str, *, path: Path) -> None:  # noqa: ANN401 (ruamel's own mapping)
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    dotted, equals, written = assigned.partition("=")
    *parents, last = dotted.strip().split(".")
    if not equals or not parents:
        raise InputError(f"override {assigned!r} is not of the form section.name=value, such as train.epochs=5")
    node = content
    for parent in parents:
        node = node.get(parent) if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping) or last not in node:
        raise InputError(f"override {assigned!r}: {path} has no parameter {dotted.strip()!r}")
    try:
        value = yaml.safe_load(written)
    except (yaml.YAMLError, ValueError) as error:  # PyYAML lets dates that do not exist through as ValueError
        raise InputError(
            f"override {assigned!r}: its value is not YAML ({_problem(error)}); quote text that has special characters"
        ) from None
    # What came in quotes stays in quotes: ruamel would write "yes" without, and PyYAML would read a truth value.
    quoted = isinstance(value, str) and written.strip()[0] in "\"'"
    node[last] = DoubleQuotedScalarString(value) if quoted else value  # type: ignore[index]


def _read_sections(path: Path, *, models: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    content = _read_yaml(path)
    if unknown := sorted(map(str, content.keys() - models.keys())):
        raise InputError(f"{path} has no section {unknown[0]!r}{_nearest(unknown[0], models)}; it has {sorted(models)}")
    if missing := sorted(models.keys() - content.keys()):
        raise InputError(f"{path} lacks the section {missing[0]!r}; it needs {sorted(models)}")
    return content


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_OnceLoader)  # noqa: S506 (it is a SafeLoader)
    except FileNotFoundError:
        raise InputError(f"{path} is not there; run from the folder that holds it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise _not_yaml(path, error) from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold sections, got {type(content).__name__}")
    return content


def _not_yaml(path: Path, error: Exception) -> InputError:
    mark = getattr(error, "problem_mark", None)
    where = f" line {mark.line + 1}" if mark is not None else ""
    return InputError(f"{path}{where} is not YAML: {_problem(error)}")


def _problem(error: Exception) -> str:
    """What a parser complains of, without the lines it quotes."""
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return str(said).strip().splitlines()[0]


def _check(path: Path, *, section: str, content: object, model: type[BaseModel]) -> BaseModel:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(_fault(section, fault, model=model) for fault in error.errors())
        raise InputError(f"{path}: {faults}") from None


def _fault(section: str, fault: Any, *, model: type[BaseModel]) -> str:  # noqa: ANN401 (pydantic's ErrorDetails)
    dotted = ".".join([section, *map(str, fault["loc"])])
    if fault["type"] == "extra_forbidden":
        known = sorted(_fields_at(model, fault["loc"][:-1]))
        return f"{dotted} is not a parameter{_nearest(str(fault['loc'][-1]), known)}; known here: {known}"
    if fault["type"] == "missing":
        return f"{dotted} is missing"
    message = f"{fault['msg'][0].lower()}{fault['msg'][1:]}"
    # What is wrong with several parameters together is said in the sentence; all of the section would bury it.
    if isinstance(fault["input"], Mapping) and fault["type"] == "value_error":
        return f"{dotted}: {message.removeprefix('value error, ')}"
    return f"{dotted} is {fault['input']!r}: {message}"


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> set[str]:
    for part in location:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return set()
        model = annotation
    return set(model.model_fields)


def _nearest(name: str, known: Mapping[str, object] | Sequence[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _plain(node: Any) -> Any:  # noqa: ANN401 (any YAML node)
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    return [_plain(value) for value in node] if isinstance(node, list) else node
