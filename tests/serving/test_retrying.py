"""What follows an alias goes on after a failure: how often it tries again, and what it counts."""

from types import SimpleNamespace

import pytest

from serving.metrics import Metrics
from serving.settings import ServingSettings
from serving.shadow import Shadow
from serving.watcher import ServedModel, Watcher
from vizecg.errors import Conflict, InputError
from vizecg.registry import BrokenVersion, NoSuchVersion, PinnedVersion, Registry, RegistryUnavailable
from vizecg.settings import CHALLENGER, MODEL_NAME

POLL_S, LIMIT_S = 3.0, 60.0


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(s=0.0)
    monkeypatch.setattr("serving.backoff.time.monotonic", lambda: now.s)
    return now


@pytest.fixture
def settings(tmp_path):
    return ServingSettings(
        state_dir=tmp_path, tracking_uri="http://127.0.0.1:9", poll_s=POLL_S, retry_limit_s=LIMIT_S, shadow=CHALLENGER
    )


@pytest.fixture
def registry(monkeypatch, bundle, make):
    """What the alias means, and the errors that asking and fetching end with; without one the bundle is there."""
    pinned = PinnedVersion(name=MODEL_NAME, version="7", source="", bundle_digest=make.digest(bundle), run_id=None)
    told = SimpleNamespace(resolving=None, fetching=None, fetches=0)

    def resolve(*_):
        if told.resolving is not None:
            raise told.resolving
        return pinned

    def fetch(*_):
        told.fetches += 1
        if told.fetching is not None:
            raise told.fetching
        return bundle

    monkeypatch.setattr(Registry, "resolve", resolve)
    monkeypatch.setattr(Registry, "fetch", fetch)
    monkeypatch.setattr(Registry, "remember", lambda *_: None)
    return told


@pytest.fixture
def watcher(settings):
    metrics = Metrics()
    watcher = Watcher(model=ServedModel(metrics), settings=settings, metrics=metrics)
    return SimpleNamespace(
        once=watcher.follow_once,
        failed=lambda: metrics.registry.get_sample_value("vizecg_model_loads_total", {"outcome": "failed"}),
        ready=lambda: metrics.registry.get_sample_value("vizecg_ready") == 1,
    )


@pytest.mark.parametrize("error", [RegistryUnavailable("silent"), NoSuchVersion("none")], ids=["silent", "no-champion"])
def test_a_registry_that_is_silent_or_names_no_version_is_no_version_that_cannot_be_served(
    watcher, registry, clock, error
):
    registry.resolving = error
    for clock.s in range(0, 60, 3):
        watcher.once()
    assert watcher.failed() == 0
    registry.resolving = None
    watcher.once()
    assert (watcher.ready(), watcher.failed()) == (True, 0)


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        pytest.param(BrokenVersion("damaged"), 1, id="damaged"),
        pytest.param(InputError("answers otherwise"), 1, id="goldens"),
        pytest.param(RegistryUnavailable("silent"), 0, id="silent"),
        pytest.param(Conflict("another process"), 0, id="another-process-fetches"),
    ],
)
def test_only_a_promoted_version_that_cannot_be_served_counts_as_failed(watcher, registry, error, counted):
    registry.fetching = error
    watcher.once()
    assert watcher.failed() == counted


def test_a_version_without_a_digest_counts_as_failed(watcher, registry):
    registry.resolving = BrokenVersion("no digest")
    watcher.once()
    assert watcher.failed() == 1


def test_a_version_that_was_broken_for_days_is_still_tried_every_minute(watcher, registry, clock):
    registry.fetching = BrokenVersion("damaged")
    for _ in range(1_100):  # 2 to this power is no floating-point number
        watcher.once()
        clock.s += LIMIT_S
    assert registry.fetches == 1_100
    registry.fetching = None
    watcher.once()
    assert watcher.ready()


@pytest.mark.parametrize(
    "error",
    [RegistryUnavailable("silent"), Conflict("another process"), BrokenVersion("cut off"), OSError("no space left")],
    ids=["silent", "another-process-fetches", "cut-off", "disk"],
)
def test_a_challenger_that_could_not_be_fetched_is_tried_again_ever_more_rarely(settings, registry, clock, error):
    metrics = Metrics()
    shadow = Shadow(settings, alias=CHALLENGER, metrics=metrics)
    registry.fetching, tried_s = error, []
    for clock.s in range(0, 200, int(POLL_S)):
        before = registry.fetches
        shadow._follow()
        tried_s += [clock.s] if registry.fetches > before else []
    assert tried_s == [0, 6, 18, 42, 90, 150]  # pauses of 6, 12, 24, 48, 60 and 60 s
    registry.fetching, clock.s = None, 300
    shadow._follow()
    assert b'vizecg_shadow_info{bundle_digest="' in metrics.text()
    shadow._follow()
    assert registry.fetches == len(tried_s) + 1  # and what is loaded is not fetched again
