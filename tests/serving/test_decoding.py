"""Pictures are unpacked in processes that may die; whoever sends the next one does not notice."""

import base64
import io
import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from serving import decoder as decoder_process
from serving import decoding, handover
from serving.app import create_app
from serving.decoding import Decoders, NoDecoder, Undecodable
from serving.metrics import Metrics
from serving.settings import ServingSettings
from vizecg import intake

PATIENCE_S = 60
LARGE_PX = 5_000  # 25 megapixels: half of what is read at most


def encoded(pixels: np.ndarray, kind: str, **how: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **how)
    return stream.getvalue()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def large_png() -> bytes:
    return encoded(np.zeros((LARGE_PX, LARGE_PX, 3), np.uint8), "PNG", compress_level=1)


@pytest.fixture(scope="module")
def small_png() -> bytes:
    return encoded(noise(60, 80), "PNG")


@pytest.fixture
def decoders(tmp_path):
    made = []

    def start(**settings: object) -> Decoders:
        settings = {"predictions_at_once": 1, "state_dir": tmp_path, **settings}
        made.append(Decoders(ServingSettings(**settings), metrics=Metrics()))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.close()


def restarts(metrics_text: str) -> dict[str, float]:
    lines = [line for line in metrics_text.splitlines() if line.startswith("vizecg_decoder_restarts_total{")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


def test_pixels_are_those_of_training(decoders):
    turned = Image.Exif()
    turned[0x0112] = 6
    rgb = noise(90, 140, 3)
    files = [
        encoded(noise(60, 80), "PNG"),
        encoded(noise(60, 80, 4), "PNG"),
        encoded(noise(1400, 1900, 3), "JPEG", exif=turned),
        encoded(rgb, "TIFF", compression="tiff_lzw", save_all=True, append_images=[Image.fromarray(rgb)]),
        encoded(rgb, "PDF", resolution=72),
    ]
    apart = decoders()
    for data in files:
        expected, got = intake.open_upload(data), apart.unpack(data)
        np.testing.assert_array_equal(got.pixels, expected.pixels)
        assert (got.upload_px, got.pages) == (expected.upload_px, expected.pages)
        got.pixels[0] = 0  # as any array: whoever reads it may also write on it


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"Dear doctor", id="text"),
        pytest.param(encoded(noise(60, 80), "PNG")[:3000], id="cut-off"),
        pytest.param(encoded(np.zeros((8000, 8000), np.uint8), "PNG"), id="too-large"),
        pytest.param(b"%PDF-1.4 and no more", id="broken-document"),
    ],
)
def test_refusals_are_those_of_the_intake(decoders, data):
    with pytest.raises((intake.UnreadableImage, intake.UnsupportedImage, intake.ImageTooLarge)) as expected:
        intake.open_upload(data)
    with pytest.raises(expected.type) as got:
        decoders().unpack(data)
    assert str(got.value) == str(expected.value)


@pytest.mark.parametrize(
    ("limit", "why", "reason"),
    [
        pytest.param({"decode_memory_bytes": 40_000_000}, "more than 40 MB of memory", "memory", id="memory"),
        pytest.param({"decode_cpu_s": 0.05}, r"more than 0\.05 s on the CPU", "cpu", id="cpu"),
        pytest.param({"decode_wall_s": 0.05}, r"more than 0\.05 s; send", "wall", id="wall"),
    ],
)
def test_what_takes_more_than_a_limit_is_refused_and_the_next_picture_is_read(
    decoders, large_png, small_png, limit, why, reason
):
    apart = decoders(**limit)
    with pytest.raises(Undecodable, match=f"cannot be decoded within limits: it needs {why}"):
        apart.unpack(large_png)
    until = time.monotonic() + PATIENCE_S
    while True:  # a machine that is busy may take a small picture beyond so low a limit too
        try:
            assert apart.unpack(small_png).pixels.shape == (60, 80)
            break
        except Undecodable:
            assert time.monotonic() < until
    counted = restarts(apart._metrics.text().decode())
    assert counted.pop(reason) >= 1
    assert set(counted.values()) == {0.0}


def test_a_fault_of_a_library_that_nobody_has_met_yet_is_one_picture_s_and_quotes_nothing_of_it(monkeypatch):
    def fails(_):
        raise ZeroDivisionError("Hanna Horn, born 1970")

    monkeypatch.setattr(decoder_process.intake, "open_upload", fails)
    ours, theirs = handover.channel()
    with ours, theirs:
        decoder_process._answer(b"a picture", theirs)
        told = json.loads(ours.recv(handover.MOST_MESSAGE_BYTES))
    with pytest.raises(Undecodable, match=r"^the picture cannot be decoded \(ZeroDivisionError\)$"):
        raise decoding._refusal_of(told)


def test_where_no_process_can_be_started_it_says_so(decoders, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(NoDecoder, match="no process to unpack pictures can be started"):
        decoders()


def test_a_decoder_gets_no_secret_and_leaves_no_core(decoders, small_png, processes, monkeypatch):
    monkeypatch.setenv("VIZECG_TRACKING_URI", "http://alice:s3cret@127.0.0.1:9")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    before = set(processes.decoders_of(os.getpid()))
    decoders().unpack(small_png)
    (decoder,) = set(processes.decoders_of(os.getpid())) - before
    assert b"s3cret" not in Path(f"/proc/{decoder}/environ").read_bytes()
    limits = Path(f"/proc/{decoder}/limits").read_text()
    assert next(line for line in limits.splitlines() if line.startswith("Max core file size")).split()[4] == "0"


# A library of a decoder, as Python imports it before all others, that crashes on what ends with these words.
CRASH = b"ends whoever unpacks it"
CRASHES = f"""\
import os, signal
from vizecg import intake
unpack = intake.open_upload
def open_upload(data):
    if bytes(data[-{len(CRASH)}:]) == {CRASH!r}:
        os.kill(os.getpid(), signal.SIGSEGV)
    return unpack(data)
intake.open_upload = open_upload
"""


@pytest.fixture
def crashing(tmp_path, monkeypatch, small_png) -> bytes:
    """A picture that ends every decoder that is started from now on, by the service of this process or of another."""
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "sitecustomize.py").write_text(CRASHES)
    monkeypatch.syspath_prepend(tmp_path / "library")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return small_png + CRASH


def test_a_file_that_ends_two_decoders_is_refused_and_the_next_picture_is_read(decoders, crashing, small_png):
    apart = decoders()
    apart.unpack(small_png)
    with pytest.raises(Undecodable, match="cannot be decoded: it ends the process that decodes it"):
        apart.unpack(crashing)
    assert apart.unpack(small_png).pixels.shape == (60, 80)
    assert restarts(apart._metrics.text().decode()) == {"memory": 0, "cpu": 0, "wall": 0, "ended": 2, "start": 0}


def test_a_decoder_that_ended_while_it_had_nothing_to_do_costs_nobody_an_answer(decoders, small_png, processes):
    before = set(processes.decoders_of(os.getpid()))
    apart = decoders()
    apart.unpack(small_png)
    (decoder,) = set(processes.decoders_of(os.getpid())) - before
    os.kill(decoder, signal.SIGKILL)
    assert apart.unpack(small_png).pixels.shape == (60, 80)


def test_a_fault_while_a_decoder_works_gives_the_next_picture_no_pixels_of_another(decoders, small_png):
    apart = decoders()
    with pytest.raises(ZeroDivisionError):
        apart.unpack(encoded(noise(30, 30), "PNG"), meanwhile=lambda: 1 / 0)
    assert apart.unpack(small_png).pixels.shape == (60, 80)


@pytest.mark.servers
def test_decoders_that_end_amid_requests_cost_no_5xx_and_none_outlives_the_service(
    start_service, bundle, processes, page_png, large_png, crashing
):
    service = start_service(bundle=bundle)
    url = service.url

    def ask(data: bytes) -> int:
        return httpx.post(f"{url}/v1/predict", content=data, trust_env=False, timeout=PATIENCE_S).status_code

    with ThreadPoolExecutor(4) as callers:
        ends, pages = [], []
        for _ in range(3):
            ends.append(callers.submit(ask, crashing))
            pages += [callers.submit(ask, page_png) for _ in range(5)]
    assert {one.result() for one in ends} == {422}
    assert {one.result() for one in pages} == {200}
    assert ask(large_png) == 200
    counted = restarts(httpx.get(f"{url}/metrics", trust_env=False).text)
    assert counted["ended"] == 2 * len(ends)
    left = processes.decoders_of(service.pid)
    assert len(left) == 2
    service.process.kill()
    service.process.wait()
    until = time.monotonic() + PATIENCE_S
    while any(processes.is_decoder(decoder) for decoder in left):
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.servers
def test_every_route_says_that_a_picture_is_beyond_the_limits(serve, bundle, tmp_path, page_png, large_png):
    settings = ServingSettings(bundle=bundle, state_dir=tmp_path, decode_memory_bytes=60_000_000)
    said = (
        "the picture cannot be decoded within limits: it needs more than 60 MB of memory; send it at a lower resolution"
    )
    with serve(create_app(settings)) as url, httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE_S) as client:
        refused = client.post("/v1/predict", content=large_png)
        assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
        assert refused.json()["detail"] == said
        assert client.post("/v1/explain", content=large_png).json()["detail"] == said
        batch = client.post("/v1/predict/batch", files=[("file", ("a", large_png)), ("file", ("b", page_png))]).json()
        assert [result.get("problem", {}).get("detail") for result in batch["results"]] == [said, None]
        tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(large_png).decode()]}
        asked = client.post("/v2/models/vizecgnet/infer", json={"inputs": [tensor]})
        assert (asked.status_code, asked.json()["error"]) == (400, f"picture 0: {said}")
        assert client.post("/v1/predict", content=page_png).status_code == 200
        assert restarts(client.get("/metrics").text)["memory"] == 4
