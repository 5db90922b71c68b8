"""The audit trail of one process: no answer goes out that it does not hold, unless the settings say otherwise."""

import hashlib
import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from serving.metrics import Metrics
from serving.problems import ProblemError
from serving.settings import ServingSettings
from vizecg import audit
from vizecg.chain import ChainWriter
from vizecg.errors import InputError
from vizecg.predictor import Reading

log = logging.getLogger("vizecg.serving")

# Places and addresses change no answer, and an address may hold a password.
_PLACES: Final = {
    *("state_dir", "tracking_uri", "ledger_url", "bundle", "api_keys_file", "audit_dir", "feedback_dir", "shadow_dir")
}
_PACKAGES: Final = ("vizecg", "numpy", "onnxruntime", "opencv-python-headless", "pillow", "pypdfium2", "simplejpeg")


class AuditTrail:
    """Writes a line for each answer.

    Raises:
        InputError: answers must be kept, and the trail cannot be written.
    """

    def __init__(self, settings: ServingSettings, *, metrics: Metrics) -> None:
        self._required = settings.audit == "required"
        self._metrics = metrics
        shown = settings.model_dump(mode="json", exclude=_PLACES)
        self._settings_sha256 = hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()
        self._start: dict[str, Any] | None = {"kind": "start", "settings": shown, "packages": _packages()}
        self._counting = threading.Lock()
        self._missed = 0
        self._writer = None
        if settings.audit != "off":
            self._writer = ChainWriter(
                settings.audit_folder, max_file_bytes=settings.audit_file_bytes, flush=settings.audit_flush == "line"
            )
            self._open(self._writer, settings)

    @property
    def kept(self) -> bool:
        """Whether answers are kept at all."""
        return self._writer is not None

    def note(self, reading: Reading, *, input_sha256: Callable[[], str], input_bytes: int, key_id: str | None) -> None:
        """Keep an answer before it goes out; blocks until it is on the disk, so not for the event loop.

        Args:
            reading: the answer.
            input_sha256: tells the digest of the picture's bytes, where it is needed.
            input_bytes: their number.
            key_id: whose request it was.

        Raises:
            ProblemError: 503, it cannot be kept and must be.
        """
        if self._writer is None:
            return
        now = datetime.now(UTC)
        line = audit.line_of(
            reading,
            input_sha256=input_sha256(),
            input_bytes=input_bytes,
            key_id=key_id,
            settings_sha256=self._settings_sha256,
            now=now,
        )
        try:
            self._write(self._writer, line, now=now)
        except OSError as error:
            self._not_written(error)

    def close(self) -> None:
        """Flush it."""
        if self._writer is not None:
            try:
                self._writer.close()
            except OSError as error:
                log.error("the audit trail could not be flushed: %s", error.strerror or error)

    def _open(self, writer: ChainWriter, settings: ServingSettings) -> None:
        try:
            writer.open()
        except OSError as error:
            if self._required:
                reason = (error.strerror or str(error)).lower()
                raise InputError(
                    f"the audit trail in {settings.audit_folder} cannot be written: {reason}; mend that, name another "
                    "folder in VIZECG_AUDIT_DIR, or set VIZECG_AUDIT to best-effort or off"
                ) from None
            log.warning("answers are given without an audit trail: %s", error.strerror or error)

    def _write(self, writer: ChainWriter, line: dict[str, Any], *, now: datetime) -> None:
        with self._counting:  # the first line says under which settings, and is written once
            if self._start is not None:
                writer.append({**self._start, "time": now.isoformat(), "settings_sha256": self._settings_sha256})
                self._start = None
            writer.append({**line, "missed_before": self._missed} if self._missed else line)
            if self._missed:
                log.info("the audit trail is written again; %d answers are not in it", self._missed)
            self._missed = 0

    def _not_written(self, error: OSError) -> None:
        self._metrics.refused.labels("audit").inc()
        log.error("the audit trail cannot be written: %s", error.strerror or error)
        if self._required:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE, "the answer cannot be written to the audit trail, so it is not given"
            )
        with self._counting:
            self._missed += 1


def _packages() -> dict[str, str]:
    return {name: version(name) for name in _PACKAGES}
