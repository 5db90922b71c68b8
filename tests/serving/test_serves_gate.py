"""The gate that starts a real service with a challenger: it answers as its bundle says, or the model is no champion."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from vizecg.bundle import GOLDENS_FILE
from vizecg.errors import Conflict
from vizecg.gates import Served
from vizecg.promotion.service import try_to_serve

pytestmark = pytest.mark.servers


def test_a_bundle_that_the_service_answers_with_as_it_was_made_serves(bundle, monkeypatch):
    # What the one who promotes has set for services of theirs is not for this one.
    monkeypatch.setenv("VIZECG_API_KEYS_FILE", "/nowhere/keys.json")
    monkeypatch.setenv("VIZECG_ALIAS", "challenger")
    assert try_to_serve(bundle) == Served(pages=2)


def test_a_bundle_that_answers_otherwise_than_it_was_made_does_not(forged):
    def change(folder):
        content = json.loads((folder / GOLDENS_FILE).read_text())
        for page in content["pages"]:
            page["probabilities"] = [1 - value for value in page["probabilities"]]
        (folder / GOLDENS_FILE).write_text(json.dumps(content))

    served = try_to_serve(forged(change))
    assert served.pages == 2
    assert "a service that was started with it: the service ended with code 2" in served.wrong


def test_a_bundle_whose_network_does_not_load_does_not(forged):
    served = try_to_serve(forged(lambda folder: (folder / "model.onnx").write_bytes(b"no network")))
    assert "the service ended with code 2" in served.wrong


def test_two_that_promote_at_once_are_judged_each_by_its_own_service(bundle, second_bundle):
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(try_to_serve, (bundle, second_bundle))) == [Served(pages=2), Served(pages=2)]


def test_the_service_of_another_is_no_witness(second_bundle, service, monkeypatch):
    taken = SimpleNamespace(getsockname=lambda: ("127.0.0.1", urlsplit(service).port))
    monkeypatch.setattr("vizecg.promotion.service.reserved", lambda _: nullcontext(taken))
    with pytest.raises(Conflict, match=r"another service took port \d+ of 127\.0\.0\.1 just now; promote again"):
        try_to_serve(second_bundle)
