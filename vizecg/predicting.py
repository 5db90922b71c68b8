"""`vizecg predict`: one JSON line for each file, the answer of the API plus `file`."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vizecg.answer import Answer
from vizecg.errors import InputError
from vizecg.settings import CHAMPION, LARGEST_PICTURE_BYTES, Settings

Predict = Callable[[bytes], Answer]


def predict_files(
    images: Iterable[Path], *, settings: Settings, bundle: Path | None, url: str | None, key_file: Path | None = None
) -> int:
    """Print a line for each file, in their order.

    Args:
        images: files.
        settings: which registry knows the champion; `settings.bundle` stands in for `bundle`.
        bundle: a bundle folder to ask instead of the champion.
        url: a service to ask instead.
        key_file: holds the API key for it.

    Returns:
        The exit code: 2 when a file has no answer, else 0.

    Raises:
        InputError: there is nobody to ask.
    """
    if bundle is not None and url is not None:
        raise InputError("--bundle and --url name two models; give one of them")
    failed = False
    with _somebody(settings, bundle=bundle or settings.bundle, url=url, key_file=key_file) as predict:
        for image in images:
            line = _line(image, predict)
            failed = failed or "error" in line
            print(json.dumps(line, ensure_ascii=False), flush=True)
    return InputError.exit_code if failed else 0


def _line(image: Path, predict: Predict) -> dict[str, object]:
    from vizecg.client import ServiceUnavailable
    from vizecg.predictor import BrokenModel

    try:
        return {"file": str(image), **predict(_read(image)).model_dump(mode="json")}
    except (ServiceUnavailable, BrokenModel):  # would fail on every file: one sentence is enough
        raise
    except InputError as error:
        return {"file": str(image), "error": str(error)}


def _read(image: Path) -> bytes:
    try:
        with image.open("rb") as opened:
            data = opened.read(LARGEST_PICTURE_BYTES + 1)  # a device or a pipe may have no end
    except OSError as error:
        raise InputError(f"cannot be read: {(error.strerror or str(error)).lower()}") from None
    if len(data) > LARGEST_PICTURE_BYTES:
        raise InputError(f"the picture is larger than {LARGEST_PICTURE_BYTES} bytes")
    return data


def _key_in(key_file: Path | None) -> str | None:
    if key_file is None:
        return None
    try:
        return key_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{key_file} cannot be read as an API key; it holds what `vizecg keys new` printed") from None


@contextmanager
def _somebody(settings: Settings, *, bundle: Path | None, url: str | None, key_file: Path | None) -> Iterator[Predict]:
    if url is not None:
        from vizecg.client import Client

        with Client(url, api_key=_key_in(key_file)) as client:
            yield client.predict
    elif bundle is not None:
        from vizecg.predictor import Predictor

        yield Predictor.load(bundle).predict
    else:
        from vizecg.predictor import Predictor
        from vizecg.registry import Registry, fail_quickly

        fail_quickly()
        registry = Registry(settings)
        pinned = registry.resolve(CHAMPION)
        yield Predictor.load(registry.fetch(pinned)).known_as(**pinned.names).predict
