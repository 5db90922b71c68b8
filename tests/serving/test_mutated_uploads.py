"""Files that are damaged, cut off or lie about themselves get an answer or a 4xx, and the service stays as it was.

`--uploads 20000` sends as many, and with VIZECG_TEST_EXAMPLES=wild they are others each time (`make fuzz`).
"""

import io
import os
import re
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.servers

ALLOWED = {200, 400, 413, 415, 422}
MORE_MB = 60
"""What the service may take more at the end than after a quarter of the uploads."""
MOST_DECODER_MB = 400
WILD = os.environ.get("VIZECG_TEST_EXAMPLES") == "wild"
SEED = int.from_bytes(os.urandom(4)) if WILD else 22
EDGES = (0, 1, 2, 3, 0x7F, 0xFF, 0x100, 7_000, 50_000, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF)
"""Numbers at which dimensions, counts and lengths go wrong."""


def edge(rng: np.random.Generator) -> int:
    return EDGES[rng.integers(len(EDGES))]


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for at in rng.integers(0, len(data), int(rng.integers(1, 20))):
        changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def cut_off(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def repeated(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = sorted(rng.integers(0, len(data), 2).tolist())
    return data[:last] + data[first:]


def lying_png(data: bytes, rng: np.random.Generator) -> bytes:
    """Chunks with another number, length, type or place, whose checksums hold."""
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append([data[at + 4 : at + 8], bytearray(data[at + 8 : at + 8 + length])])
        at += 12 + length
    which = int(rng.integers(len(chunks)))
    kind, content = chunks[which]
    match rng.integers(4):
        case 0:  # IHDR: width, height, depth, colour type, compression, filter, interlace
            content = chunks[0][1]
            at = int(rng.integers(9))
            content[at : at + 4] = struct.pack(">I", edge(rng))[: len(content) - at]
        case 1:
            del content[len(content) // 2 :]
        case 2:
            chunks.insert(int(rng.integers(len(chunks))), [kind, bytearray(content)])
        case _:
            chunks[which][0] = [b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND"][rng.integers(5)]
    lied = rng.random() < 0.2
    out = data[:8]
    for kind, content in chunks:
        length = edge(rng) if lied else len(content)
        checksum = zlib.crc32(kind + content)
        out += struct.pack(">I", length) + kind + bytes(content) + struct.pack(">I", checksum)
    return out


def lying_jpeg(data: bytes, rng: np.random.Generator) -> bytes:
    """A segment with another length, or another number within: sizes, components, tables."""
    starts = [found.start() for found in re.finditer(rb"\xff[\xc0-\xc2\xc4\xda\xdb\xdd\xe0\xe1]", data)]
    changed, at = bytearray(data), starts[rng.integers(len(starts))]
    if rng.random() < 0.3:
        changed[at + 2 : at + 4] = struct.pack(">H", edge(rng) & 0xFFFF)
    else:
        within = at + 4 + int(rng.integers(12))
        changed[within : within + 2] = struct.pack(">H", edge(rng) & 0xFFFF)
    return bytes(changed)


def lying_tiff(data: bytes, rng: np.random.Generator) -> bytes:
    """An entry of the directory with another tag, type, count or value, or another next directory."""
    (directory,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, directory)
    changed = bytearray(data)
    if rng.random() < 0.1:  # pages that follow one another without end
        next_at = directory + 2 + 12 * entries
        changed[next_at : next_at + 4] = struct.pack("<I", directory)
        return bytes(changed)
    entry = directory + 2 + 12 * int(rng.integers(entries))
    match rng.integers(4):
        case 0:
            struct.pack_into("<H", changed, entry + 2, int(rng.integers(14)))
        case 1:
            struct.pack_into("<I", changed, entry + 4, edge(rng))
        case 2:
            struct.pack_into("<H", changed, directory, edge(rng) & 0xFFFF)
        case _:
            struct.pack_into("<I", changed, entry + 8, edge(rng))
    return bytes(changed)


def lying_pdf(data: bytes, rng: np.random.Generator) -> bytes:
    """Another number anywhere outside the streams: sizes of page and picture, counts, lengths, references."""
    numbers = [found.span() for found in re.finditer(rb"(?<=[ \[])\d+(?=[ \]\n/>])", data)]
    first, last = numbers[rng.integers(len(numbers))]
    return data[:first] + str(edge(rng) - int(rng.integers(2))).encode() + data[last:]


LIES: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "PNG": lying_png,
    "JPEG": lying_jpeg,
    "TIFF": lying_tiff,
    "PDF": lying_pdf,
}


def picture(kind: str, rng: np.random.Generator) -> bytes:
    """A small picture in one of the forms that a kind of file has."""
    mode = ["L", "RGB", *(["RGBA", "P", "1"] if kind in {"PNG", "TIFF"} else ["CMYK"] * (kind == "JPEG"))]
    image = Image.fromarray(rng.integers(0, 256, (170, 240), dtype=np.uint8)).convert(str(rng.choice(mode)))
    how = {
        "JPEG": {"progressive": bool(rng.integers(2)), "quality": 60},
        "TIFF": {"compression": [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"][rng.integers(4)]},
    }
    stream = io.BytesIO()
    image.save(stream, kind, **how.get(kind, {}))
    return stream.getvalue()


def upload(number: int) -> bytes:
    """The same for the same number, so that one that fails can be sent again."""
    rng = np.random.default_rng([SEED, number])
    kind = list(LIES)[number % len(LIES)]
    data = picture(kind, rng)
    change = [LIES[kind], LIES[kind], flipped, cut_off, repeated][rng.integers(5)]
    return change(data, rng)


def test_no_upload_is_a_fault_of_the_service_or_stays_in_its_memory(start_service, bundle, processes, uploads):
    service = start_service(bundle=bundle)
    statuses: dict[int, int] = {}
    after_a_quarter_mb = 0.0
    with (
        httpx.Client(base_url=service.url, trust_env=False, timeout=120) as client,
        ThreadPoolExecutor(4) as callers,
    ):

        def send(number: int) -> None:
            statuses[number] = client.post("/v1/predict", content=upload(number)).status_code

        for first in range(0, uploads, 20):
            list(callers.map(send, range(first, min(first + 20, uploads))))
            if not after_a_quarter_mb and first >= uploads // 4:
                after_a_quarter_mb = processes.memory_mb_of(service.pid)
        assert client.get("/ready").status_code == 200
        restarts = [line for line in client.get("/metrics").text.splitlines() if "decoder_restarts_total{" in line]
    print(f"\nseed {SEED}: {dict(Counter(statuses.values()))}, {restarts}")
    faults = [number for number, status in statuses.items() if status not in ALLOWED]
    assert faults == [], f"seed {SEED}"
    assert {200, 400} <= set(statuses.values())
    assert processes.memory_mb_of(service.pid) - after_a_quarter_mb < MORE_MB
    decoders = processes.decoders_of(service.pid)
    assert len(decoders) == 2
    assert max(processes.memory_mb_of(decoder) for decoder in decoders) < MOST_DECODER_MB
