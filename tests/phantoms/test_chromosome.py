from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.analysis import CHROMOSOME_LABELS
from appliance.models.preprocessing import long_axis_angle
from appliance.phantoms.chromosome import render_chromosome, transmit, upright_turn
from appliance.phantoms.cytobands import ideogram
from appliance.phantoms.staining import StainStyle, axis_profile

PLAIN = StainStyle(grain=0.0, ragged_px=0.0, telomere_fade=0.0, pale=0.35, dark=1.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_same_seed_gives_the_same_pixels_and_another_does_not() -> None:
    one, same, other = (render_chromosome("7", rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one.image, same.image)
    assert np.array_equal(one.mask, same.mask)
    assert one.p_arm_direction == same.p_arm_direction
    assert one.image.shape != other.image.shape or not np.array_equal(one.image, other.image)


@pytest.mark.parametrize("label", CHROMOSOME_LABELS)
def test_stain_is_where_the_mask_is(label: str) -> None:
    phantom = render_chromosome(label, rng(1), background=240.0)
    assert phantom.image.shape == phantom.mask.shape
    assert phantom.mask.any()
    border = np.ones_like(phantom.mask)
    border[1:-1, 1:-1] = False
    assert not (phantom.mask & border).any(), "the chromosome lies wholly in its picture"
    far = cv2.dilate(phantom.mask.astype(np.uint8), np.ones((13, 13), np.uint8)) == 0
    assert np.median(phantom.image[far]) == pytest.approx(240.0, abs=3.0)
    assert phantom.image[phantom.mask].mean() < 205.0


@pytest.mark.parametrize("angle", [-150.0, -90.0, 0.0, 37.0, 120.0])
@pytest.mark.parametrize("bend", [0.0, 120.0])
def test_the_p_arm_points_where_it_was_turned_to(angle: float, bend: float) -> None:
    phantom = render_chromosome("3", rng(5), angle_degrees=angle, bend_degrees=bend)
    # A counter-clockwise turn of straight up, with y pointing down.
    wanted = (-math.sin(math.radians(angle)), -math.cos(math.radians(angle)))
    assert phantom.p_arm_direction == pytest.approx(wanted, abs=1e-6)
    assert phantom.upright_degrees == pytest.approx(-angle, abs=1e-6)


def test_p_arm_direction_agrees_with_centromere_and_spine() -> None:
    for label in CHROMOSOME_LABELS:
        phantom = render_chromosome(label, rng(2), angle_degrees=25.0, bend_degrees=20.0)
        axis = np.array(phantom.p_arm_direction)
        centromere = np.array(phantom.centromere)
        p_end, q_end = phantom.spine[0], phantom.spine[-1]
        assert (p_end - centromere) @ axis > 0 > (q_end - centromere) @ axis
        p_share = np.linalg.norm(p_end - centromere) / np.linalg.norm(p_end - q_end)
        assert p_share == pytest.approx(ideogram(label).centromere, abs=0.09)


def test_the_long_axis_of_a_straight_mask_is_the_p_arm_axis() -> None:
    for angle in (-70.0, -20.0, 10.0, 80.0):
        phantom = render_chromosome("1", rng(3), angle_degrees=angle, bend_degrees=0.0)
        difference = (long_axis_angle(phantom.mask) - phantom.upright_degrees) % 180.0
        assert min(difference, 180.0 - difference) < 8.0


@pytest.mark.parametrize(
    ("direction", "turn"), [((0.0, -1.0), 0.0), ((1.0, 0.0), 90.0), ((-1.0, 0.0), -90.0), ((0.0, 1.0), 180.0)]
)
def test_upright_turn_is_counter_clockwise(direction: tuple[float, float], turn: float) -> None:
    assert upright_turn(direction) == pytest.approx(turn)


def test_dark_bands_are_darker_than_pale_ones() -> None:
    profile = axis_profile("6", PLAIN, rng(0))
    length = profile.last - profile.first
    # 6p22-p21 is the pale belt by which every cytogeneticist knows chromosome 6.
    belt = next(band for band in ideogram("6").bands if band.name.startswith("p21.3"))
    dark = next(band for band in ideogram("6").bands if band.name == "q12")
    at = [profile.first + round(length * 0.5 * (band.start + band.end)) for band in (belt, dark)]
    assert profile.absorbance[at[0]] < profile.absorbance[at[1]] - 0.15


def test_larger_chromosomes_cover_more_pixels() -> None:
    areas = {
        label: np.mean([render_chromosome(label, rng(seed), style=PLAIN).mask.sum() for seed in range(6)])
        for label in ("1", "7", "12", "18", "21")
    }
    assert list(areas) == sorted(areas, key=lambda label: -areas[label])


def test_two_layers_let_less_light_through_than_one() -> None:
    layers = np.linspace(0.0, 2.5, 40, dtype=np.float32)
    light = transmit(layers)
    assert light[0] == 1.0
    assert (np.diff(light) < 0).all()
    assert transmit(np.array([2.0], np.float32))[0] > 0.0


def _profile(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows = np.nonzero(mask.any(axis=1))[0]
    stain = [255.0 - float(image[y][mask[y]].mean()) for y in rows]
    profile = np.interp(np.linspace(0, 1, 100), np.linspace(0, 1, len(stain)), stain)
    return np.asarray(profile / profile.max())


def test_bands_resemble_real_chromosomes_the_right_way_up(data_dir: Path) -> None:
    folder = data_dir / "upright_chromosomes"
    if not folder.is_dir():
        pytest.skip(f"no real upright chromosomes: {folder} is no directory")
    right, flipped = [], []
    for label in CHROMOSOME_LABELS:
        real = []
        for path in sorted((folder / label).iterdir())[:40]:
            image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            assert image is not None
            level, _ = cv2.threshold(image, 0, 255, cv2.THRESH_OTSU)
            real.append(_profile(image, image < level + 30))
        phantoms = [
            render_chromosome(
                label, rng(seed), angle_degrees=0.0, bend_degrees=0.0, style=PLAIN, background=250.0
            )
            for seed in range(8)
        ]
        drawn = np.mean([_profile(phantom.image, phantom.mask) for phantom in phantoms], axis=0)
        mean = np.mean(real, axis=0)
        inner = slice(5, 95)
        right.append(np.corrcoef(mean[inner], drawn[inner])[0, 1])
        flipped.append(np.corrcoef(mean[inner], drawn[::-1][inner])[0, 1])
    better = sum(a > b for a, b in zip(right, flipped, strict=True))
    assert better >= 22, list(zip(CHROMOSOME_LABELS, np.round(right, 2), np.round(flipped, 2), strict=True))
    assert np.mean(right) > 0.4
