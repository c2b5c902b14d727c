"""Pasting, fitting, suppressing and outlining masks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.karyotype.instances import Candidate, Instance, fit_masks, read_candidates
from appliance.karyotype.outline import bounding_box, fill, outline
from appliance.karyotype.region import FieldMap
from appliance.karyotype.settings import DetectionSettings
from appliance.karyotype.suppression import (
    shared_pixels,
    suppress,
    touching,
    without_nuclei,
    without_repeats,
)
from appliance.karyotype.tiling import Window

SETTINGS = DetectionSettings()


def bar(left: int, top: int, width: int, height: int, score: float = 0.9) -> Instance:
    return Instance(left, top, np.ones((height, width), dtype=bool), score, score)


def whole(box: tuple[float, float, float, float], score: float = 0.9) -> Candidate:
    return Candidate(np.array(box, dtype=np.float32), score, score, np.ones((28, 28), dtype=np.float32))


def stained(*windows: tuple[int, int, int, int]) -> NDArray[np.float32]:
    stain = np.zeros((200, 200), dtype=np.float32)
    for left, top, width, height in windows:
        stain[top : top + height, left : left + width] = 0.8
    return stain


def test_mask_follows_the_stain_inside_the_box() -> None:
    (one,) = fit_masks([whole((40, 50, 80, 130))], stained((48, 55, 20, 70)), SETTINGS)
    assert (one.left, one.top) == (48, 55)
    assert one.mask.shape == (70, 20)
    assert one.mask.all()


def test_pasting_is_exact_to_a_fraction_of_a_pixel() -> None:
    half = np.zeros((28, 28), dtype=np.float32)
    half[:, :14] = 1.0
    candidate = Candidate(np.array([20.5, 30.5, 76.5, 86.5], dtype=np.float32), 0.9, 0.9, half)
    (one,) = fit_masks([candidate], stained((20, 30, 57, 57)), DetectionSettings(rim_probability=0.5))
    assert one.left == 20
    assert one.left + one.mask.shape[1] == pytest.approx(48.5, abs=0.51)


def test_an_end_that_the_box_cuts_off_is_followed_along_the_stain() -> None:
    (one,) = fit_masks([whole((48, 60, 70, 120))], stained((50, 56, 18, 68)), SETTINGS)
    assert (one.top, one.mask.shape[0]) == (56, 68)
    (far,) = fit_masks([whole((48, 60, 70, 120))], stained((50, 0, 18, 200)), SETTINGS)
    assert far.mask.shape[0] <= 60 * 1.16 + 4


def test_background_inside_a_bend_is_no_hole_to_fill() -> None:
    stain = stained((40, 40, 60, 60))
    stain[55:85, 55:85] = 0.0
    stain[45:47, 45:47] = 0.0
    (one,) = fit_masks([whole((38, 38, 102, 102))], stain, SETTINGS)
    assert one.area_px == 60 * 60 - 30 * 30


def test_a_piece_of_a_neighbour_is_left_to_the_neighbour() -> None:
    stain = stained((40, 40, 20, 80), (80, 40, 20, 80))
    weak = np.full((28, 28), 0.6, dtype=np.float32)
    greedy = Candidate(np.array([38, 38, 102, 122], dtype=np.float32), 0.9, 0.9, weak)
    neighbour = whole((78, 38, 102, 122))
    first, second = fit_masks([greedy, neighbour], stain, SETTINGS)
    assert (first.left, first.mask.shape[1]) == (40, 20)
    assert (second.left, second.mask.shape[1]) == (80, 20)


def test_touching_neighbours_are_parted_at_equal_probability() -> None:
    ramp = np.clip(np.linspace(1.6, 0.0, 28, dtype=np.float32), 0, 1)[None].repeat(28, axis=0)
    left = Candidate(np.array([20, 40, 76, 96], dtype=np.float32), 0.9, 0.9, ramp)
    right = Candidate(np.array([48, 40, 104, 96], dtype=np.float32), 0.9, 0.9, ramp[:, ::-1].copy())
    first, second = fit_masks([left, right], stained((20, 40, 84, 56)), SETTINGS)
    assert shared_pixels(first, second) <= 4 * 56
    assert first.left + first.mask.shape[1] == pytest.approx(62, abs=8)


def test_crumbs_go_and_both_pieces_of_a_crossed_chromosome_stay() -> None:
    stain = stained((50, 20, 20, 60), (50, 100, 20, 50), (80, 30, 3, 3))
    (one,) = fit_masks([whole((45, 15, 90, 155))], stain, SETTINGS)
    assert one.area_px == 20 * 60 + 20 * 50
    assert len(outline(one)) == 2


def test_detection_over_empty_ground_leaves_nothing() -> None:
    assert fit_masks([whole((10, 10, 12, 12))], stained(), SETTINGS) == []
    assert fit_masks([whole((300, 300, 340, 340))], stained(), SETTINGS) == []


def test_scores_below_the_limit_and_empty_slots_are_no_candidates() -> None:
    boxes = np.zeros((1, 4, 4), dtype=np.float32)
    boxes[0, :3] = [[10, 10, 40, 60], [0, 100, 30, 130], [50, 50, 80, 90]]
    scores = np.array([[0.9, 0.8, 0.1, 0.0]], dtype=np.float32)
    masks = np.ones((1, 4, 28, 28), dtype=np.float32)
    found = read_candidates(boxes, scores, masks, Window(100, 20, 512, 0.5), (900, 900), SETTINGS)
    assert [one.score for one in found] == pytest.approx([0.9, 0.8])
    np.testing.assert_allclose(found[0].box, [220, 60, 280, 160])
    assert found[1].rank == pytest.approx(0.4)


def test_an_object_seen_by_two_windows_is_pasted_once() -> None:
    first, second = Window(0, 0, 512, 0.5), Window(384, 0, 512, 0.5)
    half = np.zeros((28, 28), dtype=np.float32)
    half[:14] = 1.0
    full = np.ones((28, 28), dtype=np.float32)
    box = np.array([800, 100, 900, 200], dtype=np.float32)
    seen = Candidate(box, 0.9, 0.9, full, first)
    again = Candidate(box + 2, 0.8, 0.8, full, second)
    crossing = Candidate(box + 2, 0.7, 0.7, half, second)
    beside = Candidate(box + 2, 0.6, 0.6, full, first)
    assert without_repeats([again, seen, crossing, beside], SETTINGS) == [seen, crossing, beside]
    assert without_repeats([seen, beside], SETTINGS) == [seen, beside]
    assert without_repeats([], SETTINGS) == []


def test_duplicates_parts_and_crossings() -> None:
    long = bar(50, 20, 20, 100, 0.95)
    duplicate = bar(51, 22, 20, 100, 0.9)
    part = bar(50, 20, 20, 40, 0.8)
    crossing = bar(20, 60, 90, 20, 0.7)
    assert suppress([part, duplicate, crossing, long], SETTINGS) == [long, crossing]


def test_composite_gives_way_to_its_members() -> None:
    composite = bar(20, 20, 40, 60, 0.85)
    left, right = bar(20, 20, 20, 60, 0.9), bar(40, 20, 20, 60, 0.95)
    assert suppress([composite, left, right], SETTINGS) == [right, left]
    unsure = [bar(20, 20, 20, 60, 0.6), bar(40, 20, 20, 60, 0.6)]
    assert suppress([composite, *unsure], SETTINGS) == [composite]


def test_suppressing_nothing_gives_nothing() -> None:
    assert suppress([], SETTINGS) == []
    assert touching([]) == []


def test_detections_on_nuclei_are_dropped() -> None:
    nucleus = np.zeros((100, 100), dtype=bool)
    nucleus[0:40, 0:40] = True
    field = FieldMap(np.zeros_like(nucleus), nucleus, 0.5)
    on, beside, half = bar(10, 10, 30, 60), bar(120, 120, 30, 60), bar(70, 10, 20, 60)
    assert without_nuclei([on, beside, half], field, SETTINGS) == [beside, half]


@pytest.mark.parametrize(("gap", "linked"), [(-5, True), (0, True), (1, True), (2, False), (9, False)])
def test_touching_bridges_at_most_one_free_pixel(gap: int, linked: bool) -> None:
    links = touching([bar(10, 10, 20, 60), bar(30 + gap, 10, 20, 60), bar(150, 150, 10, 10)])
    assert links == ([(1,), (0,), ()] if linked else [(), (), ()])


def test_outline_filled_again_is_the_mask() -> None:
    rng = np.random.default_rng(4)
    yy, xx = np.mgrid[0:90, 0:60]
    for _ in range(20):
        angle, bend = rng.uniform(0, np.pi), rng.uniform(-0.01, 0.01)
        along = (xx - 30) * np.sin(angle) + (yy - 45) * np.cos(angle)
        across = (xx - 30) * np.cos(angle) - (yy - 45) * np.sin(angle) + bend * along**2
        mask = (np.abs(along) < 24) & (np.abs(across) < 8)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        tight = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        instance = Instance(100 + int(columns[0]), 200 + int(rows[0]), tight, 1.0, 1.0)
        again, left, top = fill(outline(instance), bounding_box(instance))
        assert (left, top) == (instance.left, instance.top)
        assert (again & tight).sum() / (again | tight).sum() > 0.95


def test_outline_lies_within_the_box() -> None:
    instance = bar(7, 9, 20, 33)
    box = bounding_box(instance)
    assert (box.x, box.y, box.width, box.height) == (7, 9, 20, 33)
    (polygon,) = outline(instance)
    xs, ys = zip(*polygon, strict=True)
    assert 7 <= min(xs) <= 7.5
    assert 26.5 <= max(xs) <= 27
    assert 9 <= min(ys) <= 9.5
    assert 41.5 <= max(ys) <= 42
