"""A record is printed true to scale as PNG, JPEG or PDF, or as a picture of the page, the same for the same seed."""

import io

import numpy as np
import pypdfium2
import pytest
from click.testing import CliRunner
from PIL import Image

from vizecg.cli import cli
from vizecg.errors import InputError
from vizecg.page import STYLES
from vizecg.printing import Printing, draw_signal, photo_presets
from vizecg.simulate import write_database

MM_PER_POINT = 25.4 / 72


def flat_mv():
    return np.zeros((12, 5000))


def drawn(tmp_path, name, signal_mv=None, **printing):
    out = tmp_path / name
    draw_signal(flat_mv() if signal_mv is None else signal_mv, out, sampling_hz=500, printing=Printing(**printing))
    return out


def rendered(pdf, *, dots_per_inch):
    """(height, width, 3) of the first page by a PDF program."""
    document = pypdfium2.PdfDocument(pdf)
    try:
        assert len(document) == 1
        page = document[0]
        size_mm = tuple(side * MM_PER_POINT for side in page.get_size())
        return np.asarray(page.render(scale=dots_per_inch / 72).to_pil().convert("RGB")), size_mm
    finally:
        document.close()


@pytest.mark.parametrize(
    ("style", "size_mm"),
    [("standard", (297, 210)), ("3x4-rhythm", (279.4, 215.9)), ("3x4-reduced-portrait", (210, 297))],
)
@pytest.mark.parametrize("dots_per_inch", [100, 187])
def test_a_pdf_has_the_size_of_its_paper_at_any_resolution(tmp_path, style, size_mm, dots_per_inch):
    _, found_mm = rendered(drawn(tmp_path, "page.pdf", style=style, dots_per_inch=dots_per_inch), dots_per_inch=50)
    assert found_mm == pytest.approx(size_mm, abs=0.01)


@pytest.mark.parametrize(("style", "mv_mm", "second_mm"), [("standard", 10, 25), ("3x4-low-gain", 5, 25)])
def test_printed_at_its_size_a_pdf_has_its_millivolts_and_seconds(tmp_path, style, mv_mm, second_mm):
    signal_mv = flat_mv()
    signal_mv[1, [1000, 4000]] = 3.0  # lead II spikes at 2 s and 8 s
    dots_per_inch = 20 * 25.4  # 20 px a millimetre of paper
    pixels, _ = rendered(drawn(tmp_path, "page.pdf", signal_mv, style=style), dots_per_inch=dots_per_inch)
    ink = pixels.max(axis=2) < 100
    chosen = STYLES[style]
    pulse = ink[:, round((chosen.pulse_left_mm + 2.5) * 20)]
    foot_mm = chosen.baseline_mm(3)
    top_mm = np.flatnonzero(pulse[round((foot_mm - 14) * 20) : round((foot_mm + 1) * 20)])[0] / 20 + foot_mm - 14
    assert foot_mm - top_mm - 0.175 == pytest.approx(mv_mm, abs=0.1), "half a pen's width above the middle of the line"
    above = ink[round((foot_mm - 1.5 * mv_mm) * 20) : round((foot_mm - 1.4 * mv_mm) * 20)].any(axis=0)
    spikes = np.flatnonzero(above)
    assert (spikes.max() - spikes.min()) / 20 == pytest.approx(6 * second_mm, abs=0.5)


def test_a_pdf_holds_every_pixel_of_the_page(tmp_path):
    with Image.open(drawn(tmp_path, "page.png", dots_per_inch=127)) as image:
        expected = np.asarray(image.convert("RGB"))
    document = pypdfium2.PdfDocument(drawn(tmp_path, "page.pdf", dots_per_inch=127))
    (image,) = document[0].get_objects()
    np.testing.assert_array_equal(np.asarray(image.get_bitmap().to_pil().convert("RGB")), expected)
    document.close()


@pytest.mark.parametrize("name", ["page.png", "page.jpg", "page.pdf"])
@pytest.mark.parametrize("printing", [{}, {"style": "drawn", "text": True}, {"preset": "photo"}], ids=str)
def test_the_same_seed_gives_the_same_bytes(tmp_path, name, printing):
    first, again = (
        drawn(tmp_path, f"{part}-{name}", dots_per_inch=60, seed=3, **printing).read_bytes() for part in "ab"
    )
    assert first == again


def test_another_seed_gives_another_picture_style_and_text(tmp_path):
    for printing in ({"style": "drawn"}, {"style": "6x2", "text": True}, {"preset": "photo"}):
        files = {drawn(tmp_path, "page.png", dots_per_inch=60, seed=seed, **printing).read_bytes() for seed in range(4)}
        assert len(files) == 4, printing


def test_text_is_printed_only_where_it_is_asked_for(tmp_path):
    silent, said = (
        drawn(tmp_path, "page.png", style="6x2", dots_per_inch=60, text=text).read_bytes() for text in (False, True)
    )
    assert silent != said
    assert drawn(tmp_path, "page.png", style="6x2", dots_per_inch=60, seed=99).read_bytes() == silent


@pytest.mark.parametrize("preset", photo_presets())
def test_a_picture_is_the_same_in_each_format(tmp_path, preset):
    printing = {"preset": preset, "dots_per_inch": 100}
    jpeg = drawn(tmp_path, "page.jpg", **printing).read_bytes()
    assert jpeg in drawn(tmp_path, "page.pdf", **printing).read_bytes(), "compressed once"
    with Image.open(io.BytesIO(jpeg)) as image, Image.open(drawn(tmp_path, "page.png", **printing)) as lossless:
        assert image.size == lossless.size
        assert np.abs(np.asarray(image).astype(int) - np.asarray(lossless)).mean() < 1
        width, height = image.size
    pixels, size_mm = rendered(tmp_path / "page.pdf", dots_per_inch=100)
    assert size_mm == pytest.approx((width / 100 * 25.4, height / 100 * 25.4), abs=0.05)
    assert pixels.shape[:2] == pytest.approx((height, width), abs=1)


def test_a_scan_as_pdf_is_as_large_as_its_paper(tmp_path):
    _, size_mm = rendered(drawn(tmp_path, "page.pdf", preset="scan", dots_per_inch=100), dots_per_inch=50)
    assert size_mm == pytest.approx((297, 210), abs=0.2)


@pytest.mark.parametrize("name", ["page.png", "page.jpg"])
def test_pictures_of_the_page_itself_know_their_resolution(tmp_path, name):
    with Image.open(drawn(tmp_path, name, dots_per_inch=150)) as image:
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)


@pytest.mark.parametrize(
    ("printing", "message"),
    [
        ({"style": "5x5"}, r"there is no page style '5x5'; known: \['12x1', .*'drawn', 'standard'"),
        (
            {"preset": "drone"},
            r"there is no camera preset 'drone'; known: \['scan', 'fax', 'photo', 'screen', 'worst'\]",
        ),
        ({"preset": "clean"}, "there is no camera preset 'clean'"),
    ],
)
def test_what_cannot_be_printed_is_refused(printing, message):
    with pytest.raises(InputError, match=message):
        Printing(**printing)


def test_only_pages_of_known_formats_are_written(tmp_path):
    with pytest.raises(InputError, match=r"page\.gif ends in '\.gif'; a page can be written as \.png, .* or \.pdf"):
        drawn(tmp_path, "page.gif")
    with pytest.raises(InputError, match="ends in 'nothing'"):
        drawn(tmp_path, "page")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records") / "simulated"
    write_database(folder, records=1, seed=7)
    return folder / "records500" / "00000" / "00001_hr"


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["page.png", "--style", "drawn", "--text"], b"\x89PNG"),
        (["page.jpeg", "--photo", "--seed", "3"], b"\xff\xd8"),
        (["new/page.PDF", "--preset", "fax"], b"%PDF"),
    ],
)
def test_the_command_draws_a_record(tmp_path, record, arguments, start):
    out = tmp_path / arguments[0]
    done = CliRunner().invoke(cli, ["page", str(record), str(out), "--dpi", "80", *arguments[1:]])
    assert (done.exit_code, done.output) == (0, f"{out}\n"), done.exception
    assert out.read_bytes().startswith(start)
    assert [path.name for path in out.parent.iterdir()] == [out.name], "nothing half written is left"


def test_a_photo_is_the_preset_photo(tmp_path, record):
    for name, how in (("a.jpg", ["--photo"]), ("b.jpg", ["--preset", "photo"])):
        CliRunner().invoke(cli, ["page", str(record), str(tmp_path / name), "--dpi", "60", *how])
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()
