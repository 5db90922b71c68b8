"""What the camera does to a page looks like what happens to paper, the same every time, and is known to the pixel."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from vizecg import camera

PRESETS = ["clean", "fax", "photo", "scan", "screen", "worst"]
EVERY_EFFECT = {**camera.EFFECTS, **camera.PLACINGS}
COLOURS = {"red": (220, 20, 20), "green": (20, 170, 20), "blue": (20, 20, 220), "violet": (190, 20, 190)}


def page():
    """White paper with a black cross through its middle and a dark square in the upper left."""
    image = np.full((300, 400, 3), 255, np.uint8)
    image[148:152, 50:350] = 0
    image[30:270, 198:202] = 0
    image[40:80, 60:100] = 40
    return image


def ecg(width=880, height=620):
    """Pale red squares and black lines, as fine as on paper."""
    image = np.full((height, width, 3), 252, np.uint8)
    image[::15] = image[:, ::15] = (245, 200, 195)
    x = np.arange(40, width - 40)
    for row in range(4):
        y = 100 + row * 130 + 25 * np.sin(x / 20) * np.exp(-(((x % 90) - 40) ** 2) / 80)
        points = np.column_stack([x, y]).round().astype(np.int32)
        cv2.polylines(image, [points], isClosed=False, color=(20, 20, 20), thickness=2, lineType=cv2.LINE_AA)
    return image


def marked(width=800, height=600, side=40):
    """White paper with a square of its own colour in each corner, clockwise from the top left."""
    image = np.full((height, width, 3), 255, np.uint8)
    red, green, blue, violet = COLOURS.values()
    image[:side, :side], image[:side, -side:], image[-side:, -side:], image[-side:, :side] = red, green, blue, violet
    return image


def found_corners(image):
    """The corner of each mark that is farthest from the middle of all four."""
    tones = image.astype(int)
    distances = [
        np.abs(tones / tones.sum(axis=2, keepdims=True).clip(1) - np.array(c) / sum(c)).sum(axis=2)
        for c in COLOURS.values()
    ]
    masks = [(d == np.min(distances, axis=0)) & (d < 0.5) & (np.ptp(tones, axis=2) > 60) for d in distances]
    marks = []
    for mask in masks:
        # The largest piece: single pixels of a table may have any colour.
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
        marks.append(np.argwhere(labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax())[:, ::-1])
    middle = np.mean([mark.mean(axis=0) for mark in marks], axis=0)
    return np.array([mark[np.hypot(*(mark - middle).T).argmax()] for mark in marks])


def rng(seed=0):
    return np.random.default_rng(seed)


def shots_with(name, preset, *, image, seeds=range(60)):
    return [shot for seed in seeds if name in (shot := camera.shoot(image, preset=preset, rng=rng(seed))).effects]


# --- every effect


def test_every_effect_that_a_preset_may_name_can_be_had_by_itself():
    assert set(EVERY_EFFECT) == set(camera.EFFECTS_IN_ORDER)
    assert not set(camera.EFFECTS) & set(camera.PLACINGS)
    assert {name for preset in camera.PRESETS.values() for name in preset.effects} == set(EVERY_EFFECT)


@pytest.mark.parametrize("name", EVERY_EFFECT)
def test_strength_0_is_the_same_picture_in_a_new_place(name):
    image = ecg()
    taken = EVERY_EFFECT[name](image, strength=0.0, rng=rng())
    if name in camera.PLACINGS:
        taken, scene = taken
        np.testing.assert_array_equal(scene.homography, np.eye(3))
    np.testing.assert_array_equal(taken, image)
    assert not np.shares_memory(taken, image)


@pytest.mark.parametrize("name", EVERY_EFFECT)
def test_an_effect_shows_and_leaves_shape_kind_and_its_argument(name):
    image = ecg()
    for seed in range(5):
        taken = EVERY_EFFECT[name](image, strength=0.8, rng=rng(seed))
        taken = taken[0] if name in camera.PLACINGS else taken
        assert taken.dtype == np.uint8
        assert taken.shape in ({image.shape, (880, 620, 3)} if name == "quarter_turn" else {image.shape})
        if taken.shape == image.shape:
            assert (np.abs(taken.astype(int) - image).max(axis=2) > 8).sum() > 25
    np.testing.assert_array_equal(image, ecg())


@pytest.mark.parametrize("name", EVERY_EFFECT)
def test_an_effect_is_a_pure_function_of_image_strength_and_generator(name):
    first, again = (EVERY_EFFECT[name](ecg(), strength=0.5, rng=rng(4)) for _ in range(2))
    if name in camera.PLACINGS:
        first, again = first[0], again[0]
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", EVERY_EFFECT)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": ecg()[:, :, 0]}, r"image must be \(height, width, 3\) uint8, got \(620, 880\) uint8"),
        ({"image": ecg() / 255}, r"image must be \(height, width, 3\) uint8, got \(620, 880, 3\) float64"),
        ({"strength": 1.5}, "strength must be 0 to 1, got 1.5"),
        ({"strength": float("nan")}, "strength must be 0 to 1, got nan"),
        ({"px_per_mm": 0.0}, "px_per_mm must be finite and above 0, got 0.0"),
    ],
)
def test_an_effect_refuses_what_it_cannot_happen_to(name, arguments, message):
    asked = {"image": ecg(), "strength": 0.5, **arguments}
    with pytest.raises(ValueError, match=message):
        EVERY_EFFECT[name](asked.pop("image"), rng=rng(), **asked)


@pytest.mark.parametrize("name", ["rotation", "perspective", "curl", "fold", "crop"])
def test_a_placing_knows_where_every_point_of_the_page_went(name):
    image = np.full((600, 800, 3), 255, np.uint8)
    # Off the middle, where a worn fold or the light of one may run.
    dots = np.array([[250, 250], [530, 240], [540, 430], [260, 420]])
    for x, y in dots:
        cv2.circle(image, (int(x), int(y)), 5, (0, 0, 0), -1, cv2.LINE_AA)
    for seed in range(6):
        taken, scene = camera.PLACINGS[name](image, strength=0.7, rng=rng(seed))
        for x, y in scene.seen(dots):
            left, top = round(x) - 12, round(y) - 12
            ink = 255.0 - taken[top : top + 25, left : left + 25].min(axis=2)
            ink[ink < 130] = 0
            place = [np.average(np.arange(25), weights=ink.sum(axis=axis)) for axis in (0, 1)]
            assert (place[0] + left, place[1] + top) == pytest.approx((x, y), abs=0.5)


def test_a_quarter_turn_is_the_page_turned_anticlockwise():
    for seed in range(6):
        taken, scene = camera.quarter_turn(page(), strength=1.0, rng=rng(seed))
        top_left = scene.seen(np.array([0.0, 0.0]))
        turns = {(0, 399): 1, (399, 299): 2, (299, 0): 3}[tuple(np.rint(top_left).astype(int).tolist())]
        np.testing.assert_allclose(taken, np.rot90(page(), turns), atol=1)


@pytest.mark.parametrize("angle_deg", [-2.0, 1.5])
def test_rotation_is_anticlockwise_about_the_middle(angle_deg):
    turned = camera.rotate(page(), angle_deg=angle_deg, surround=(255, 255, 255)).min(axis=2)
    heights = [np.flatnonzero(turned[100:200, x] < 128).mean() for x in (80, 320)]
    assert np.degrees(np.arctan2(heights[0] - heights[1], 240)) == pytest.approx(angle_deg, abs=0.15)
    assert turned[149:151, 199:201].max() < 128


def test_shade_takes_the_stated_share_of_light_and_leaves_the_rest():
    white = np.full((300, 400, 3), 255, np.uint8)
    lit = camera.shade(white, loss=0.2, rng=rng()) / 255
    assert lit.min() == pytest.approx(0.8, abs=0.015)
    assert lit.max() == pytest.approx(1.0, abs=0.015)
    steps = np.abs(np.diff(lit[:, :, 0], axis=1))
    assert steps.max() < 0.01  # smooth: no edge that could be taken for ink


@pytest.mark.parametrize("width", [400, 90_000])
def test_grain_has_the_stated_size(width):
    gray = np.full((40, width, 3), 128, np.uint8)
    rough = camera.roughen(gray, sigma_levels=4.0, rng=rng())
    assert rough.std() == pytest.approx(4.0, rel=0.1)
    assert rough.mean() == pytest.approx(128, abs=0.3)


@pytest.mark.parametrize("strength", [0.2, 0.6, 1.0])
def test_defocus_is_a_blur_of_the_stated_width(strength):
    line = np.zeros((1000, 100, 3), np.uint8)
    line[500] = 255
    spread = camera.defocus(line, strength=strength, rng=rng())[:, 50, 0].astype(float)
    away = np.arange(1000) - 500
    sigma_px = np.sqrt((spread * away**2).sum() / spread.sum())
    # Its own documentation: 0.8 per mille of the longer side at strength 1.
    assert sigma_px == pytest.approx(0.8 * strength, abs=0.08)


def test_fading_pales_ink_and_leaves_paper():
    image = ecg()
    image[:40] = 255
    faded = camera.fading(image, strength=0.6, rng=rng())
    assert faded[:40].min() == 255
    ink = image.max(axis=2) < 60
    assert faded[ink].mean() > image[ink].mean() + 60


def test_a_fax_is_black_and_white():
    assert set(np.unique(camera.fax(ecg(), strength=0.5, rng=rng()))) == {0, 255}


def test_a_photocopy_is_gray():
    copied = camera.photocopy(ecg(), strength=0.7, rng=rng())
    assert np.ptp(copied, axis=2).max() == 0


@pytest.mark.parametrize("quality", [0, 101])
def test_a_quality_that_libjpeg_does_not_know_is_refused(quality):
    with pytest.raises(ValueError, match=f"JPEG quality must be 1 to 100, got {quality}"):
        camera.jpeg(page(), quality=quality)


# --- presets


def test_clean_changes_nothing_and_hands_out_a_copy():
    image = page()
    taken = camera.apply(image, preset="clean", rng=rng())
    np.testing.assert_array_equal(taken, image)
    taken[:] = 0
    np.testing.assert_array_equal(image, page())
    shot = camera.shoot(image, preset="clean", rng=rng())
    assert (shot.effects, shot.jpeg_quality, shot.quarter_turns) == ((), None, 0)
    np.testing.assert_allclose(shot.corners_px, [[0, 0], [399, 0], [399, 299], [0, 299]])
    np.testing.assert_allclose(shot.homography, np.eye(3))


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "clean"])
def test_a_picture_is_a_pure_function_of_image_and_generator(preset):
    image = ecg()
    first = camera.photograph(image, preset=preset, rng=rng(7))
    np.testing.assert_array_equal(image, ecg())
    assert first == camera.photograph(image, preset=preset, rng=rng(7))
    assert first != camera.photograph(image, preset=preset, rng=rng(8))


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "clean"])
def test_the_file_is_a_jpeg_of_the_same_picture(preset):
    data = camera.photograph(ecg(), preset=preset, rng=rng(3))
    assert data.startswith(b"\xff\xd8\xff")
    opened = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(opened, camera.apply(ecg(), preset=preset, rng=rng(3)))


@pytest.mark.parametrize("preset", PRESETS)
def test_an_image_of_any_size_can_be_taken(preset):
    for size in ((40, 30), (31, 97), (501, 333)):
        image = np.full((*size, 3), 250, np.uint8)
        for seed in range(4):
            assert camera.apply(image, preset=preset, rng=rng(seed)).dtype == np.uint8


@pytest.mark.parametrize("preset", ["scan", "fax"])
def test_a_machine_keeps_the_page_s_size(preset):
    for seed in range(10):
        assert camera.apply(page(), preset=preset, rng=rng(seed)).shape == (300, 400, 3)


def test_scans_remain_like_the_page():
    for seed in range(10):
        taken = camera.apply(page(), preset="scan", rng=rng(seed))
        assert np.median(taken) > 190
        assert taken[145:155, 195:205].min() < 60


def test_scans_turn_the_page_by_at_most_two_degrees_both_ways():
    turns = []
    for seed in range(40):
        corners_px = camera.shoot(page(), preset="scan", rng=rng(seed)).corners_px
        across, down = corners_px[1] - corners_px[0]
        turns.append(np.degrees(np.arctan2(-down, across)))
    assert min(turns) < -1
    assert max(turns) > 1
    assert max(np.abs(turns)) <= 2


def test_photos_show_the_corners_of_the_page_where_they_are_said_to_be():
    turned = set()
    for seed in range(12):
        shot = camera.shoot(marked(), preset="photo", rng=rng(seed))
        turned.add(shot.quarter_turns)
        away_px = np.hypot(*(found_corners(shot.image) - shot.corners_px).T)
        assert away_px.max() < 0.005 * np.hypot(*shot.image.shape[:2]), (seed, away_px)
    assert len(turned) > 1


def test_photos_have_the_whole_page_in_a_frame_of_four_to_three():
    for seed in range(40):
        shot = camera.shoot(page(), preset="photo", rng=rng(seed))
        height, width = shot.image.shape[:2]
        assert (max(width, height), min(width, height)) == (400, 300)
        assert (shot.corners_px > 0).all()
        assert (shot.corners_px < (width - 1, height - 1)).all()
        fills = np.ptp(shot.corners_px, axis=0) / (width, height)
        assert 0.66 < fills.max() < 0.951


def test_a_photo_s_quarter_turns_are_anticlockwise_and_seldom():
    shots = [camera.shoot(page()[::4, ::4].copy(), preset="photo", rng=rng(seed)) for seed in range(300)]
    assert 0.10 < np.mean([shot.quarter_turns > 0 for shot in shots]) < 0.20
    assert {shot.quarter_turns for shot in shots} == {0, 1, 2, 3}
    for shot in shots:
        across, down = shot.corners_px[1] - shot.corners_px[0]
        # y grows downwards; 8 degrees of rotation and what the perspective adds.
        askew_deg = (np.degrees(np.arctan2(-down, across)) - 90 * shot.quarter_turns + 180) % 360 - 180
        assert abs(askew_deg) < 20
        assert (shot.image.shape[0] > shot.image.shape[1]) == (shot.quarter_turns % 2 == 1)


def test_a_photo_s_homography_is_the_page_without_its_curl():
    for seed in range(20):
        shot = camera.shoot(page(), preset="photo", rng=rng(seed))
        flat = cv2.perspectiveTransform(np.array([[[0, 0], [399, 0], [399, 299], [0, 299]]], float), shot.homography)[0]
        away_px = np.hypot(*(flat - shot.corners_px).T).max()
        assert away_px < (20 if {"curl", "fold"} & set(shot.effects) else 1e-6)


def test_a_crop_leaves_some_of_the_page_outside():
    shots = shots_with("crop", "worst", image=page(), seeds=range(20))
    assert len(shots) > 3
    for shot in shots:
        height, width = shot.image.shape[:2]
        assert (shot.corners_px < 0).any() or (shot.corners_px > (width - 1, height - 1)).any()


def test_what_one_effect_draws_moves_no_other(monkeypatch):
    whole = camera.PRESETS["worst"]
    calm = camera.Preset(
        setting=whole.setting,
        fill=whole.fill,
        jpeg_quality=whole.jpeg_quality,
        effects={name: chance for name, chance in whole.effects.items() if name not in ("note", "finger", "noise")},
    )
    shots = [camera.shoot(ecg(), preset="worst", rng=rng(seed)) for seed in range(8)]
    monkeypatch.setattr("vizecg.camera.presets.PRESETS", {"worst": calm})
    for seed, shot in enumerate(shots):
        again = camera.shoot(ecg(), preset="worst", rng=rng(seed))
        assert again.effects == tuple(name for name in shot.effects if name not in ("note", "finger", "noise"))
        np.testing.assert_array_equal(again.corners_px, shot.corners_px)
        assert again.jpeg_quality == shot.jpeg_quality


def test_every_preset_happens_as_its_data_say():
    for name, preset in camera.PRESETS.items():
        for seed in range(5):
            shot = camera.shoot(page(), preset=name, rng=rng(seed))
            assert {e for e, chance in preset.effects.items() if chance.probability == 1} <= set(shot.effects)
            assert set(shot.effects) <= set(preset.effects)
            assert list(shot.effects) == [e for e in camera.EFFECTS_IN_ORDER if e in shot.effects]
            low, high = preset.jpeg_quality or (0, 0)
            assert low <= (shot.jpeg_quality or 0) <= high


# --- refusals


@pytest.mark.parametrize("call", [camera.apply, camera.photograph, camera.shoot])
def test_an_unknown_preset_is_refused_with_the_known_ones(call):
    with pytest.raises(ValueError, match=r"unknown camera preset 'polaroid'; known: \['clean', 'fax', 'photo', "):
        call(page(), preset="polaroid", rng=rng())
    assert sorted(camera.PRESETS) == PRESETS


def test_a_preset_without_jpeg_has_no_file():
    with pytest.raises(ValueError, match="camera preset 'clean' makes no JPEG; encode the page itself"):
        camera.photograph(page(), preset="clean", rng=rng())


@pytest.mark.parametrize("call", [camera.apply, camera.photograph, camera.shoot])
def test_what_is_no_rgb_image_is_refused(call):
    with pytest.raises(ValueError, match=r"image must be \(height, width, 3\) uint8, got \(300, 400\) uint8"):
        call(page()[:, :, 0], preset="scan", rng=rng())


@pytest.mark.parametrize("px_per_mm", [0.0, -1.0, float("nan"), float("inf")])
def test_a_page_without_a_size_is_refused(px_per_mm):
    with pytest.raises(ValueError, match="px_per_mm must be finite and above 0"):
        camera.shoot(page(), preset="photo", rng=rng(), px_per_mm=px_per_mm)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"effects": {"rain": camera.Chance(1.0, 0.0, 1.0)}}, r"unknown camera effects \['rain'\]; known: \['crease'"),
        ({"fill": (0.9, 0.8)}, r"fill must rise within 0 to 1, got \(0.9, 0.8\)"),
        ({"jpeg_quality": (0, 80)}, r"jpeg_quality must rise within 1 to 100, got \(0, 80\)"),
    ],
)
def test_a_preset_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        camera.Preset(**wrong)


def test_a_chance_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"probability must be 0 to 1, got 1.2"):
        camera.Chance(1.2, 0.0, 1.0)
    with pytest.raises(ValueError, match=r"strengths must rise within 0 to 1, got weakest 0.5, strongest 0.4"):
        camera.Chance(1.0, 0.5, 0.4)


def test_the_camera_needs_nothing_of_the_training_stack():
    heavy = "{'torch', 'pandas', 'matplotlib', 'mlflow', 'prefect', 'dvc'}"
    code = f"import sys, vizecg.camera; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
