"""The gallery shows the styles that there are, as they are drawn now, and the same every time."""

import io
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from vizecg import camera, gallery
from vizecg.cli import cli
from vizecg.gallery import SIMULATED, picture_of, simulated_example, styles_page
from vizecg.page import ROWS, STYLES
from vizecg.simulate import write_database

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def example():
    return simulated_example()


def pixels(picture):
    with Image.open(picture) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_the_page_of_styles_is_current():
    assert (DOCS / "styles.md").read_text() == styles_page(said=SIMULATED), "run: vizecg gallery docs"


@pytest.mark.parametrize("name", STYLES)
def test_the_picture_of_a_style_is_current(example, name):
    shown = pixels(DOCS / "gallery" / f"{name}.png")
    now = pixels(io.BytesIO(picture_of(STYLES[name], example=example, seed=0)))
    assert shown.shape == now.shape
    # Another version of the typeface or of the reduction to few colours changes shades, not what stands where.
    assert np.abs(shown - now).mean() < 1, "run: vizecg gallery docs"


def test_the_gallery_is_small_and_holds_nothing_else():
    files = {path.name: path.stat().st_size for path in (DOCS / "gallery").iterdir()}
    assert set(files) == {f"{name}.png" for name in STYLES} | {"cameras.jpg"}
    assert sum(files.values()) < 1_500_000


def test_every_style_has_its_facts_from_the_table():
    page = styles_page(said=SIMULATED)
    assert "simulated record without medical meaning" in page
    for name, row in ROWS.items():
        (line,) = (line for line in page.splitlines() if line.startswith(f"| [{name}](#{name}) |"))
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        assert cells[3:5] == [row["seconds"], row["mm_per_s"]]
        assert cells[5].startswith(row["mm_per_mv"])
        assert f"## {name}\n" in page


def test_shares_of_drawn_styles_add_up():
    shares = [
        line.split("|")[-2].strip() for line in styles_page(said=SIMULATED).splitlines() if line.startswith("| [")
    ]
    assert sum(float(share.rstrip("%")) for share in shares if share != "–") == pytest.approx(100, abs=4)
    assert shares.count("–") == 2, "the standard pages are never drawn by chance"


@pytest.fixture
def two_styles(monkeypatch):
    few = {name: STYLES[name] for name in ("6x2", "3x4-reduced-portrait")}
    monkeypatch.setattr(gallery, "STYLES", few)
    return few


def run(*arguments):
    done = CliRunner().invoke(cli, ["gallery", *map(str, arguments)])
    assert done.exit_code == 0, done.exception
    return done.output


def test_the_command_writes_the_same_gallery_again(tmp_path, two_styles):
    said = run(tmp_path / "a")
    run(tmp_path / "b")
    written = {path.relative_to(tmp_path / "a").as_posix() for path in (tmp_path / "a").rglob("*.*")}
    assert written == {"styles.md", "gallery/cameras.jpg", *(f"gallery/{name}.png" for name in two_styles)}
    assert len(said.splitlines()) == len(written)
    for name in written:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.usefixtures("two_styles")
def test_sheets_show_every_style_through_every_camera(tmp_path):
    run(tmp_path, "--presets")
    assert {path.stem for path in (tmp_path / "presets").iterdir()} == set(camera.PRESETS)
    clean, photo = (pixels(tmp_path / "presets" / f"{preset}.jpg") for preset in ("clean", "photo"))
    assert clean.shape[1] == photo.shape[1] > 1000
    upper, lower = np.array_split(clean, 2)
    left, right = upper[:, : clean.shape[1] // 2], upper[:, clean.shape[1] // 2 :]
    coloured = [(np.ptp(side, axis=2) > 25).mean() for side in (left, right)]
    assert coloured[0] > 0.02 > 0.001 > coloured[1], "the pink grid is on the upload only"
    assert (lower < 100).any(), "the second style is below"


@pytest.mark.usefixtures("two_styles")
def test_ones_own_record_is_shown_and_said_not_to_be_simulated(tmp_path):
    write_database(tmp_path / "records", records=1, seed=7)
    run(tmp_path / "own", "--record", tmp_path / "records" / "records500" / "00000" / "00001_hr")
    run(tmp_path / "simulated")
    assert "a record named 00001_hr" in (tmp_path / "own" / "styles.md").read_text()
    assert SIMULATED not in (tmp_path / "own" / "styles.md").read_text()
    own, simulated = (tmp_path / kind / "gallery" / "6x2.png" for kind in ("own", "simulated"))
    assert np.abs(pixels(own) - pixels(simulated)).max() > 200


def test_a_record_that_is_not_there_is_one_sentence(tmp_path):
    done = CliRunner().invoke(cli, ["gallery", str(tmp_path / "out"), "--record", str(tmp_path / "nowhere")])
    assert "nowhere.hea is not there; name a WFDB record" in str(done.exception)
    assert not (tmp_path / "out").exists()
