"""Windows over the region of a spread."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from appliance.analysis import Box
from appliance.karyotype.tiling import Window, cut_window, plan_windows

SIZE, OVERLAP, SCALE = 512, 128, 0.5


def test_a_region_that_fits_gets_one_window_round_its_middle() -> None:
    (window,) = plan_windows(Box(100, 200, 800, 600), SCALE, SIZE, OVERLAP)
    assert (window.left, window.top) == (250 - 256, 250 - 256)


@pytest.mark.parametrize("width", [1024.0, 1025.0, 1400.0, 2500.0, 5000.0])
def test_windows_cover_the_region_and_share_the_overlap(width: float) -> None:
    windows = plan_windows(Box(10, 20, width, 500), SCALE, SIZE, OVERLAP)
    lefts = [window.left for window in windows]
    assert lefts == sorted(set(lefts))
    if len(lefts) > 1:
        assert lefts[0] <= 5
        assert lefts[-1] + SIZE >= (10 + width) * SCALE - 1
        assert max(b - a for a, b in itertools.pairwise(lefts)) <= SIZE - OVERLAP
    else:
        assert lefts[0] <= 5
        assert lefts[0] + SIZE >= (10 + width) * SCALE


def test_the_spare_margin_may_save_a_window() -> None:
    region = Box(0, 0, 1050, 500)
    assert len(plan_windows(region, SCALE, SIZE, OVERLAP)) == 2
    (window,) = plan_windows(region, SCALE, SIZE, OVERLAP, spare_px=16)
    assert window.left == round(525 / 2 - 256)
    assert window.left <= 16 * SCALE


def test_overlap_must_leave_a_step() -> None:
    with pytest.raises(ValueError, match="from 0 to 511 network pixels and got 512"):
        plan_windows(Box(0, 0, 10, 10), SCALE, SIZE, SIZE)


def test_window_outside_of_the_field_is_background() -> None:
    field = np.arange(100 * 80, dtype=np.float32).reshape(80, 100) + 1.0
    cut = cut_window(field, Window(-30, -20, 128, SCALE))
    assert cut.shape == (1, 1, 128, 128)
    np.testing.assert_array_equal(cut[0, 0, 20:100, 30:128], field[:, :98])
    assert cut[0, 0, :20].max() == 0.0
    assert cut[0, 0, :, :30].max() == 0.0


def test_placement_maps_window_pixels_to_the_image() -> None:
    window = Window(40, 60, SIZE, SCALE)
    mapped = window.placement.to_image(np.array([[0.0, 0.0], [10.0, 20.0]], dtype=np.float32))
    np.testing.assert_allclose(mapped, [[80.0, 120.0], [100.0, 160.0]])


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        ((10, 10, 50, 50), False),
        ((0, 10, 50, 50), True),
        ((10, 0, 50, 50), False),
        ((470, 10, 512, 50), True),
        ((10, 480, 50, 512), False),
    ],
)
def test_only_a_side_with_field_behind_it_cuts(box: tuple[float, ...], cut: bool) -> None:
    window = Window(100, 0, SIZE, SCALE)
    assert window.cuts(np.array(box, dtype=np.float32), 900, 512) is cut
