from __future__ import annotations

import dataclasses
from collections import Counter

import cv2
import numpy as np
import pytest

from appliance.phantoms.field import FieldStyle
from appliance.phantoms.metaphase import MetaphasePhantom, SpreadStyle, metaphase_phantom
from appliance.phantoms.staining import StainStyle

CLEAN = SpreadStyle(
    stain=StainStyle(),
    field=FieldStyle(nuclei=0, debris=0, ghosts=0, gradient=0.0, mottle=0.0),
    touching_share=0.0,
    overlapping_share=0.0,
)
MESSY = dataclasses.replace(
    CLEAN, field=FieldStyle(nuclei=3, debris=20), touching_share=0.3, overlapping_share=0.3, radius_px=230.0
)


@pytest.fixture(scope="module")
def messy() -> MetaphasePhantom:
    return metaphase_phantom(11, "47,XX,+21", style=MESSY)


@pytest.fixture(scope="module")
def clean() -> MetaphasePhantom:
    return metaphase_phantom(12, "46,XY", style=CLEAN)


def test_a_seed_fixes_every_pixel_and_all_truth() -> None:
    one, same = (metaphase_phantom(5, "46,XX", size=(700, 700)) for _ in range(2))
    assert np.array_equal(one.image, same.image)
    assert [c.box for c in one.chromosomes] == [c.box for c in same.chromosomes]
    assert np.array_equal(one.nuclei_mask, same.nuclei_mask)
    assert not np.array_equal(one.image, metaphase_phantom(6, "46,XX", size=(700, 700)).image)


def test_the_field_has_the_size_asked_for(messy: MetaphasePhantom) -> None:
    assert messy.image.shape == (1024, 1360)
    assert messy.image.dtype == np.uint8


def test_chromosomes_are_those_of_the_karyotype(messy: MetaphasePhantom) -> None:
    counts = Counter(c.label for c in messy.chromosomes)
    assert len(messy.chromosomes) == 47
    assert counts["21"] == 3
    assert counts["X"] == 2
    assert "Y" not in counts
    assert tuple(c.label for c in messy.chromosomes) == messy.karyotype


def test_boxes_are_tight_round_their_masks_and_inside_the_field(messy: MetaphasePhantom) -> None:
    height, width = messy.image.shape
    for c in messy.chromosomes:
        assert c.mask.shape == (c.box.height, c.box.width)
        assert c.mask[0].any()
        assert c.mask[-1].any()
        assert c.mask[:, 0].any()
        assert c.mask[:, -1].any()
        assert c.box.x >= 0
        assert c.box.x + c.box.width <= width
        assert c.box.y >= 0
        assert c.box.y + c.box.height <= height
        full = c.full_mask(height, width)
        assert full.sum() == c.mask.sum()
        assert cv2.boundingRect(full.astype(np.uint8)) == (c.box.x, c.box.y, c.box.width, c.box.height)


def test_spine_and_centromere_lie_in_the_mask(messy: MetaphasePhantom) -> None:
    for c in messy.chromosomes:
        full = c.full_mask(*messy.image.shape)
        inner = np.rint(c.spine[3:-3]).astype(int)
        assert full[inner[:, 1], inner[:, 0]].mean() > 0.97
        x, y = (round(v) for v in c.centromere)
        assert full[y, x]
        assert np.hypot(*c.p_arm_direction) == pytest.approx(1.0)
        assert (c.spine[0] - np.array(c.centromere)) @ np.array(c.p_arm_direction) > -2.0


def test_stain_lies_under_the_masks_and_nowhere_else(clean: MetaphasePhantom) -> None:
    union = clean.chromosome_mask()
    near = cv2.dilate(union.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert np.median(clean.image[~near]) == pytest.approx(CLEAN.field.background, abs=2.0)
    assert clean.image[~near].min() > 225
    assert np.percentile(clean.image[union], 95) < 225


def test_nothing_touches_where_nothing_was_asked_to(clean: MetaphasePhantom) -> None:
    assert all(c.touching == () for c in clean.chromosomes)
    count, _ = cv2.connectedComponents(clean.chromosome_mask().astype(np.uint8))
    assert count - 1 == 46


def test_contacts_are_mutual_and_true(messy: MetaphasePhantom) -> None:
    pairs = {(i, j) for i, c in enumerate(messy.chromosomes) for j in c.touching}
    assert len(pairs) >= 10
    assert pairs == {(j, i) for i, j in pairs}
    shape = messy.image.shape
    for i, j in pairs:
        one, other = (messy.chromosomes[k].full_mask(*shape).astype(np.uint8) for k in (i, j))
        assert (cv2.dilate(one, np.ones((3, 3), np.uint8)) & other).any()


def test_overlaps_are_darker_than_either_chromosome() -> None:
    style = dataclasses.replace(CLEAN, overlapping_share=0.6)
    phantom = metaphase_phantom(3, "46,XY", style=style)
    layers = np.sum([c.full_mask(*phantom.image.shape) for c in phantom.chromosomes], axis=0)
    assert (layers == 2).sum() > 500
    single, double = phantom.image[layers == 1], phantom.image[layers == 2]
    assert np.median(double) < np.median(single) - 25


def test_nuclei_are_large_and_dark_and_debris_is_small(messy: MetaphasePhantom) -> None:
    background = MESSY.field.background
    assert np.median(messy.image[messy.nuclei_mask]) < background - 50
    assert messy.nuclei_mask.sum() > 8000
    _, _, stats, _ = cv2.connectedComponentsWithStats(messy.debris_mask.astype(np.uint8))
    assert len(stats) > 15
    assert np.median(stats[1:, cv2.CC_STAT_AREA]) < 200
    assert np.median(messy.image[messy.debris_mask]) < background - 50


def test_chromosomes_keep_off_the_nuclei(messy: MetaphasePhantom) -> None:
    shared = (messy.chromosome_mask() & messy.nuclei_mask).sum()
    assert shared < 0.02 * messy.chromosome_mask().sum()


def test_an_empty_cell_is_an_empty_field() -> None:
    phantom = metaphase_phantom(1, {}, style=CLEAN, size=(300, 200))
    assert phantom.chromosomes == ()
    assert phantom.image.min() > 225


def test_a_field_that_cannot_hold_a_chromosome_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than"):
        metaphase_phantom(1, ["1"], style=CLEAN, size=(40, 40))


@pytest.mark.parametrize("seed", range(4))
def test_sampled_styles_all_render(seed: int) -> None:
    phantom = metaphase_phantom(seed, "45,X", size=(800, 800))
    assert len(phantom.chromosomes) == 45
    assert phantom.image.std() > 3.0
