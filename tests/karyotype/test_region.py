"""Grouping the segmenter's pixels into spreads."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.karyotype.region import FieldMap, field_map, find_region
from appliance.karyotype.settings import RegionSettings
from appliance.models.preprocessing import FIELD_SIZE, field_input

SETTINGS = RegionSettings()
WIDTH, HEIGHT = 1000, 800
SCALE = 0.5


def field(objects: list[tuple[int, int]], nuclei: list[tuple[int, int]] | None = None) -> FieldMap:
    """A field of 1000 × 800 image pixels with bars of 20 × 80 pixels and square nuclei of 160 pixels."""
    chromosome = np.zeros((400, 500), dtype=bool)
    nucleus = np.zeros((400, 500), dtype=bool)
    for x, y in objects:
        chromosome[y // 2 : y // 2 + 40, x // 2 : x // 2 + 10] = True
    for x, y in nuclei or []:
        nucleus[y // 2 : y // 2 + 80, x // 2 : x // 2 + 80] = True
    return FieldMap(chromosome, nucleus, SCALE)


def cluster(left: int, top: int, columns: int, rows: int) -> list[tuple[int, int]]:
    return [(left + 40 * i, top + 100 * j) for i in range(columns) for j in range(rows)]


def test_region_is_the_cluster_with_its_margin() -> None:
    search = find_region(field(cluster(300, 200, 5, 2), [(800, 600)]), WIDTH, HEIGHT, SETTINGS)
    assert search.region is not None
    assert (search.region.x, search.region.y) == (300 - 24, 200 - 24)
    assert (search.region.width, search.region.height) == (180 + 48, 180 + 48)
    assert search.spreads == 1
    assert search.nucleus_px == 160 * 160
    assert search.chromosome_px == 10 * 20 * 80


def test_region_ends_at_the_image() -> None:
    search = find_region(field(cluster(4, 0, 5, 2)), WIDTH, HEIGHT, SETTINGS)
    assert search.region is not None
    assert (search.region.x, search.region.y) == (0, 0)


def test_a_single_far_chromosome_belongs_to_the_spread() -> None:
    search = find_region(field([*cluster(100, 300, 6, 2), (640, 320)]), WIDTH, HEIGHT, SETTINGS)
    assert search.region is not None
    assert search.region.x + search.region.width > 660
    assert search.spreads == 1


def test_a_second_spread_is_counted_and_left_out() -> None:
    search = find_region(field(cluster(20, 20, 6, 2) + cluster(700, 500, 5, 2)), WIDTH, HEIGHT, SETTINGS)
    assert search.spreads == 2
    assert search.region is not None
    assert search.region.x + search.region.width < 700


@pytest.mark.parametrize("objects", [[], [(400, 400)]])
def test_too_little_is_no_spread(objects: list[tuple[int, int]]) -> None:
    search = find_region(field(objects, [(600, 100)]), WIDTH, HEIGHT, SETTINGS)
    assert search.region is None
    assert search.spreads == 0


def test_crumbs_are_noise() -> None:
    noisy = field(cluster(300, 200, 5, 2))
    noisy.chromosome[10, 10] = True
    noisy.chromosome[390:393, 490:493] = True
    search = find_region(noisy, WIDTH, HEIGHT, SETTINGS)
    assert search.region is not None
    assert search.region.x == 300 - 24


@pytest.mark.parametrize("shape", [(1024, 1360), (600, 640), (2000, 700), (33, 4000)])
def test_field_map_cuts_the_padding_off(shape: tuple[int, int]) -> None:
    stain: NDArray[np.float32] = np.ones(shape, dtype=np.float32)
    layer, placement = field_input(stain)
    logits = np.zeros((1, 3, FIELD_SIZE, FIELD_SIZE), dtype=np.float32)
    logits[0, 0] = 0.5
    logits[0, 1] = layer[0, 0]
    found = field_map(logits, placement, shape[1], shape[0])
    assert found.chromosome.all()
    assert not found.nucleus.any()
    assert found.chromosome.sum() == (layer > 0.5).sum()
