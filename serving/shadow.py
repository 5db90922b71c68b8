"""The version under another alias, asked after the answer: how far it agrees, before anybody depends on it.

It is shown the page that the champion saw, so nothing is decoded twice, by one thread of the lowest priority. An answer
never waits for it: what finds the line full is dropped and counted.
"""

import logging
import math
import os
import queue
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from serving.backoff import BackOff
from serving.metrics import Metrics
from serving.settings import ServingSettings
from serving.watcher import Served, prove
from vizecg import shadow
from vizecg.answer import Answer
from vizecg.errors import InputError, VizecgError
from vizecg.predictor import Reading
from vizecg.registry import NoSuchVersion, PinnedVersion, Registry
from vizecg.shadow import Comparison

log = logging.getLogger("vizecg.serving")

Outcome = Literal["compared", "dropped", "incomparable", "failed"]
_LOWEST_PRIORITY: Final = 19
_LONGEST_NAP_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """A page and what the champion said of it."""

    answer: Answer
    canonical: NDArray[np.uint8]


class Shadow:
    """One thread that follows an alias and asks that version about a share of the pictures.

    Raises:
        InputError: there is no registry to follow, or it would follow what is served.
    """

    def __init__(self, settings: ServingSettings, *, alias: str, metrics: Metrics) -> None:
        if settings.bundle is not None:
            raise InputError("VIZECG_SHADOW follows an alias of the registry, and VIZECG_BUNDLE is served without one")
        if alias == settings.alias:
            raise InputError(f"VIZECG_SHADOW is {alias!r}, which is what the service answers with; name another alias")
        self._alias, self._settings, self._metrics = alias, settings, metrics
        self._registry = Registry(settings)
        self._waiting: queue.Queue[_Offer] = queue.Queue(maxsize=settings.shadow_waiting)
        self._answered = 0
        self._pinned: PinnedVersion | None = None
        self._challenger: Served | None = None
        self._back_off = BackOff(first_s=settings.poll_s, limit_s=settings.retry_limit_s)
        self._next_poll = 0.0
        self._logged: str | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="vizecg-shadow", daemon=True)

    def start(self) -> None:
        """Begin to follow and to compare."""
        self._thread.start()

    def stop(self) -> None:
        """End after the picture under way; those that wait are let go."""
        self._ended.set()
        self._thread.join(timeout=2.0)

    def offer(self, reading: Reading) -> None:
        """Put a picture that was answered into the line, if it is one of the share; returns at once."""
        if not reading.answer.labels:  # rejected: the champion said nothing to agree with
            return
        before, self._answered = self._due(), self._answered + 1
        if self._due() == before:
            return
        try:
            self._waiting.put_nowait(_Offer(answer=reading.answer, canonical=reading.taken.canonical))
        except queue.Full:
            self._count("dropped")

    def _due(self) -> int:
        """How many of the pictures so far are its share; rounded first, for ten times 0.1 falls short of 1."""
        return math.floor(round(self._answered * self._settings.shadow_share, 6))

    def _work(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
        while not self._ended.is_set():
            try:
                self._once()
            except Exception:  # this thread must outlive every surprise, or comparing would silently stop
                self._count("failed")
                log.exception("the shadow failed")

    def _once(self) -> None:
        if time.monotonic() >= self._next_poll:
            try:
                self._follow()
            finally:  # a surprise is no reason to ask without a pause
                self._next_poll = time.monotonic() + self._settings.poll_s
        try:
            offer = self._waiting.get(timeout=min(self._settings.poll_s, _LONGEST_NAP_S))
        except queue.Empty:
            return
        if self._challenger is not None:
            self._compare(offer, self._challenger)

    def _follow(self) -> None:
        """Load what the alias means now; a version that fails is tried again ever more rarely."""
        try:
            pinned = self._registry.resolve(self._alias)
        except NoSuchVersion:
            self._pinned = self._challenger = None
            self._metrics.shadows(None)
            return
        except VizecgError as error:  # the registry is silent: what is loaded goes on
            self._tell(str(error))
            return
        if pinned == self._pinned or self._back_off.holds(pinned):
            return
        self._pinned = self._challenger = None
        self._metrics.shadows(None)
        try:
            served = prove(self._registry.fetch(pinned), threads=1)
        except (VizecgError, OSError) as error:
            self._back_off.failed(pinned)
            self._tell(f"version {pinned.version} is refused: {error}")
            return
        self._back_off.forget()
        named = served.predictor.known_as(**pinned.names)
        self._pinned = pinned
        self._challenger = Served(predictor=named, contract=served.contract, model_card=served.model_card)
        self._metrics.shadows(named.identity)
        log.info("comparing with %s version %s, %s", pinned.name, pinned.version, self._alias)

    def _compare(self, offer: _Offer, challenger: Served) -> None:
        predictor, answer = challenger.predictor, offer.answer
        if predictor.identity.bundle_digest == answer.model.bundle_digest:  # promoted meanwhile
            return
        spec, point = predictor.model.spec, predictor.operating_point
        codes = tuple(label.code for label in answer.labels)
        if offer.canonical.shape != (spec.height_px, spec.width_px) or set(codes) != set(point.classes):
            self._count("incomparable")
            return
        probabilities = point.probabilities(predictor.model.logits(offer.canonical[np.newaxis]))[0]
        said = dict(zip(point.classes, zip(probabilities, point.positives(probabilities), strict=True), strict=True))
        differing = tuple(label.code for label in answer.labels if label.positive != bool(said[label.code][1]))
        entry = Comparison(
            time=datetime.now(UTC),
            champion=answer.model.bundle_digest,
            challenger=predictor.identity.bundle_digest,
            differing=differing,
            largest_difference=max(abs(label.probability - float(said[label.code][0])) for label in answer.labels),
        )
        try:
            shadow.append(self._settings.shadow_folder, entry)
        except OSError as error:
            self._count("failed")
            self._tell(f"the record cannot be written: {error.strerror or error}")
            return
        for code in codes:
            self._metrics.shadow_labels.labels(code, "other" if code in differing else "same").inc()
        self._count("compared")  # last: whoever sees it counted finds its labels counted too

    def _count(self, outcome: Outcome) -> None:
        self._metrics.shadow.labels(outcome).inc()

    def _tell(self, reason: str) -> None:
        """Log a reason once however often it is met."""
        if reason != self._logged:
            log.warning("nothing new to compare with under %s: %s", self._alias, reason)
        self._logged = reason
