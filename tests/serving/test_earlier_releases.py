"""Bundles of earlier releases, as they were written then: the service of today answers as they say."""

import json
from pathlib import Path

import pytest

from vizecg import bundle as bundles
from vizecg.client import Client

RELEASES = sorted(folder for folder in (Path(__file__).parents[1] / "bundles").iterdir() if folder.is_dir())
# Of their builder's probabilities: pages are unpacked and turned upright by whatever libraries there are today.
TOLERANCE = 0.02


@pytest.mark.parametrize("release", RELEASES, ids=[folder.name for folder in RELEASES])
def test_the_service_of_today_answers_as_a_bundle_of_an_earlier_release_says(release, start_service):
    service = start_service(bundle=release)
    pages = json.loads((release / "goldens" / "goldens.json").read_text())["pages"]
    with Client(service.url) as client:
        answers = [client.predict((release / "goldens" / page["image"]).read_bytes()) for page in pages]
    assert answers
    for answer, page in zip(answers, pages, strict=True):
        assert answer.decision in ("ok", "abstain")
        assert [label.probability for label in answer.labels] == pytest.approx(page["probabilities"], abs=TOLERANCE)
        assert answer.model.bundle_digest == bundles.read(release)[0]


@pytest.mark.parametrize("release", RELEASES, ids=[folder.name for folder in RELEASES])
def test_nobody_has_touched_a_bundle_of_an_earlier_release(release):
    digest, contract = bundles.read(release)
    assert contract.simulated
    assert digest.startswith({"2026-11-26": "49adb16b5173"}[release.name])
