"""Whom to tell, and how often: people by a webhook, and nobody the same thing every day."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from vizecg.errors import InputError
from vizecg.publish import locked, to_json, write_atomically
from vizecg.settings import shown

_TIMEOUT_S = 10.0


class Memory:
    """When something was told last, by one way of telling.

    It lies in the state folder: monitors on several machines remember each for themselves.
    """

    def __init__(self, path: Path, *, cool_down: timedelta) -> None:
        self._path = path
        self._cool_down = cool_down

    @contextmanager
    def telling(self, keys: Mapping[str, str], *, now: datetime) -> Iterator[tuple[str, ...]]:
        """Give the names of what was not told, with the same content, for long enough; noted when the block ends well.

        Args:
            keys: name -> what about it; other content is another thing.
            now: with its time zone.

        Raises:
            Conflict: another monitor is writing.
        """
        with locked(self._path):
            known = self._read()
            due = tuple(name for name, what in keys.items() if self._is_due(known.get(name), what=what, now=now))
            told = {name: {"what": keys[name], "at": now.isoformat()} for name in due}
            # What is well again is told at once when it comes back.
            kept = {name: entry for name, entry in known.items() if name in keys}
            write_atomically(self._path, to_json(kept))
            yield due
            write_atomically(self._path, to_json({**kept, **told}))

    def _is_due(self, entry: Any, *, what: str, now: datetime) -> bool:  # noqa: ANN401 (whatever the file holds)
        if not isinstance(entry, dict) or entry.get("what") != what:
            return True
        try:
            return now - datetime.fromisoformat(str(entry["at"])) >= self._cool_down
        except (KeyError, TypeError, ValueError):
            return True

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


def post(url: str, content: Mapping[str, Any]) -> None:
    """Tell people by a webhook.

    Raises:
        InputError: it was not told; the sentence is without the address's secrets.
    """
    try:
        where = shown(str(httpx.URL(url).copy_with(query=None, path="/")))
    except httpx.InvalidURL:
        raise InputError("VIZECG_WEBHOOK_URL is no address such as https://HOST/PATH, so nobody was told") from None
    try:
        reply = httpx.post(url, json=dict(content), timeout=_TIMEOUT_S)
    except httpx.HTTPError as error:
        said = f"the webhook at {where} was not reached ({type(error).__name__}); see VIZECG_WEBHOOK_URL"
        raise InputError(said) from None
    if reply.is_error:
        raise InputError(f"the webhook at {where} answered {reply.status_code}; see VIZECG_WEBHOOK_URL")
