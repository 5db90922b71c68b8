"""Follow an alias of the registry: a new version answers once it is proven, until then the old one does."""

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from serving.backoff import BackOff
from serving.metrics import Metrics
from serving.schemas import AccessState, Readiness, RegistryState
from serving.settings import ServingSettings
from vizecg import bundle
from vizecg.bundle import Contract
from vizecg.errors import Conflict, InputError, VizecgError
from vizecg.predictor import Predictor
from vizecg.registry import BrokenVersion, NoSuchVersion, PinnedVersion, Registry, RegistryUnavailable

log = logging.getLogger("vizecg.serving")


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model that has proven itself, and what can be told about it."""

    predictor: Predictor
    contract: Contract
    model_card: str


def prove(folder: Path, *, threads: int) -> Served:
    """Load a bundle and hold it to its goldens, which also warms it up.

    Raises:
        InputError: it is damaged, or does not answer today as when it was built.
    """
    predictor = Predictor.load(folder, threads=threads)
    bundle.check_goldens(predictor, folder=folder)
    return Served(
        predictor=predictor,
        contract=bundle.read(folder)[1],
        model_card=(folder / bundle.MODEL_CARD_FILE).read_text(encoding="utf-8"),
    )


class ServedModel:
    """What answers now. One assignment swaps it, so a request that holds the old one ends with the old one."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.current: Served | None = None
        self.registry: RegistryState = "not asked yet"
        self._is_the_right_one = False
        self.last_failure: str | None = None
        self._logged: str | None = None

    def swap(self, served: Served) -> None:
        """Answer with this model from now on."""
        self.current = served
        self._metrics.serves(served.predictor.identity)
        identity = served.predictor.identity
        log.info(
            "answering with %s version %s, bundle %s",
            identity.name,
            identity.version or "(of no registry)",
            identity.bundle_digest[:12],
        )

    def registry_is(self, state: RegistryState) -> None:
        """Note whether the registry answered."""
        self.registry = state
        self._metrics.registry_up.set(state == "up")

    def is_the_right_one(self, confirmed: bool) -> None:
        """Note whether the registry names the version that answers; `stale` follows from it."""
        self._is_the_right_one = confirmed
        self._metrics.stale.set(self.stale)

    def failed(self, told: str, *, reason: str) -> None:
        """Count that a version cannot be served, and keep what there is; arguments as of `nothing_new`."""
        self._metrics.model_loads.labels("failed").inc()
        self.nothing_new(told, reason=reason)

    def nothing_new(self, told: str, *, reason: str) -> None:
        """Keep what there is, through no fault of a version: the registry is silent, or names none yet.

        Args:
            told: to whoever asks over HTTP, so without addresses and paths.
            reason: for the log, once however often it is met.
        """
        self.is_the_right_one(False)
        if reason != self._logged:
            log.warning("%s: %s", "keeping the model there is" if self.current else "no model yet", reason)
        self.last_failure, self._logged = told, reason

    def recovered(self) -> None:
        """What answers is what the registry names: there is nothing to tell, and the next failure is logged."""
        self.last_failure = self._logged = None
        self.is_the_right_one(True)

    @property
    def stale(self) -> bool:
        """A model answers that the registry does not name, or cannot: it is silent, or its version cannot be had."""
        return self.current is not None and self.registry != "not used" and not self._is_the_right_one

    def readiness(self, *, access: AccessState) -> Readiness:
        """For `GET /ready`, with who may ask."""
        return Readiness(
            ready=self.current is not None,
            model=self.current.predictor.identity if self.current else None,
            registry=self.registry,
            stale=self.stale,
            access=access,
            last_failure=self.last_failure,
        )


class Watcher:
    """One thread that asks what the alias means and acts on it."""

    def __init__(self, *, model: ServedModel, settings: ServingSettings, metrics: Metrics) -> None:
        self._model = model
        self._settings = settings
        self._metrics = metrics
        self._registry = Registry(settings)
        self._previous: Served | None = None
        self._back_off = BackOff(first_s=settings.poll_s, limit_s=settings.retry_limit_s)
        self.attempted = threading.Event()
        """Set when the first attempt is over, whatever came of it."""
        self._ended = threading.Event()
        # A daemon, for a download that hangs must not keep a drained service from ending.
        self._thread = threading.Thread(target=self._follow, name="vizecg-watcher", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End after the attempt under way."""
        self._ended.set()
        self._thread.join(timeout=2.0)

    def follow_once(self) -> None:
        """Ask the registry once, and load what it names."""
        try:
            pinned = self._registry.resolve(self._settings.alias)
        except RegistryUnavailable as error:
            self._model.registry_is("down")
            self._model.nothing_new(_kind(error), reason=str(error))
            if self._model.current is None:
                self._stand_in()
            return
        except NoSuchVersion as error:
            self._model.registry_is("up")
            told = f"the model registry has no {self._registry.name}@{self._settings.alias}; promote a version first"
            self._model.nothing_new(told, reason=str(error))
            return
        except BrokenVersion as error:
            self._model.registry_is("up")
            told = f"the version that is {self._settings.alias!r} is refused: {_kind(error)}"
            self._model.failed(told, reason=str(error))
            return
        self._model.registry_is("up")
        self._take(pinned)

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                self.follow_once()
            except Exception:  # this thread must outlive every surprise, or the service would silently stop following
                log.exception("could not follow the alias")
                self._model.failed("an unforeseen fault, see the log", reason="an unforeseen fault")
            self.attempted.set()
            self._ended.wait(self._settings.poll_s)

    def _take(self, pinned: PinnedVersion) -> None:
        current = self._model.current
        if current is not None and _answers_as(current, pinned):
            self._back_off.forget()
            self._model.recovered()
            return
        if self._back_off.holds(pinned):
            return
        try:
            served = self._in_memory(pinned) or prove(self._registry.fetch(pinned), threads=self._settings.threads)
        except VizecgError as error:
            self._back_off.failed(pinned)
            at_fault = not isinstance(error, RegistryUnavailable | Conflict)
            note = self._model.failed if at_fault else self._model.nothing_new
            refused = f"{pinned.name} version {pinned.version} is refused"
            note(f"{refused}: {_kind(error)}", reason=f"{refused}: {error}")
            if self._model.current is None and isinstance(error, RegistryUnavailable):
                self._stand_in()
            return
        self._back_off.forget()
        self._model.recovered()  # first, or whoever asks in between is told that the new one is not the right one
        self._swap(served, pinned)
        self._registry.remember(pinned)

    def _swap(self, served: Served, pinned: PinnedVersion) -> None:
        named = served.predictor.known_as(**pinned.names)
        if self._model.current is not None:
            self._previous = self._model.current
        self._model.swap(Served(predictor=named, contract=served.contract, model_card=served.model_card))
        self._metrics.model_loads.labels("ok").inc()

    def _stand_in(self) -> None:
        """Without a registry: the last version that was seen to work here."""
        last = self._registry.last_verified(self._settings.alias)
        if last is None:
            return
        pinned, folder = last
        try:
            served = prove(folder, threads=self._settings.threads)
        except InputError as error:
            self._model.failed(f"the last verified copy is refused: {_kind(error)}", reason=str(error))
            return
        self._swap(served, pinned)
        self._model.is_the_right_one(False)

    def _in_memory(self, pinned: PinnedVersion) -> Served | None:
        """Rolling back needs no download: the previous model is still loaded."""
        loaded = [served for served in (self._model.current, self._previous) if served is not None]
        matching = [one for one in loaded if one.predictor.identity.bundle_digest == pinned.bundle_digest]
        return matching[0] if matching else None


def _kind(error: VizecgError) -> str:
    """What went wrong, in words that hold nothing of this network and this machine."""
    if isinstance(error, RegistryUnavailable):
        return "the model registry does not answer"
    if isinstance(error, BrokenVersion):
        return "its files cannot be had, or are not those that were registered"
    if isinstance(error, Conflict):
        return "another process is fetching it"
    return "it cannot be loaded, or does not answer as when it was built"


def _answers_as(served: Served, pinned: PinnedVersion) -> bool:
    identity = served.predictor.identity
    return (identity.version, identity.bundle_digest) == (pinned.version, pinned.bundle_digest)
