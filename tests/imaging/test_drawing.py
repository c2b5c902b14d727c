"""The canvas: what is drawn lands where it was asked for, at the edge of the page too."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from appliance.imaging.drawing import BOLD, INK, PAPER, Canvas

RED = (40, 40, 200)


def drawn(canvas: Canvas) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of everything that is not paper."""
    rows, columns = np.nonzero((canvas.pixels != PAPER).any(axis=2))
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


@pytest.mark.parametrize(("anchor", "expected"), [(0.0, 100.0), (0.5, 100.0), (1.0, 100.0)])
def test_text_is_anchored(anchor: float, expected: float) -> None:
    canvas = Canvas.blank(400, 100)
    width = canvas.measure("46,XX", 30, BOLD)
    canvas.text("46,XX", expected + anchor * 100, 60, 30, INK, BOLD, anchor)
    left, top, right, bottom = drawn(canvas)
    assert left == pytest.approx(expected + anchor * 100 - anchor * width, abs=4)
    assert right == pytest.approx(left + width, abs=6)
    assert top > 30
    assert bottom <= 70


def test_box_coordinates_are_outer_corners() -> None:
    canvas = Canvas.blank(60, 60)
    canvas.box(10, 20, 30, 15, RED, 1)
    left, top, right, bottom = drawn(canvas)
    assert (left, top) == pytest.approx((10, 20), abs=2)
    assert (right, bottom) == pytest.approx((40, 35), abs=2)


def test_tint_stays_inside_of_the_outline() -> None:
    canvas = Canvas.blank(60, 60)
    canvas.outline([(10, 10), (50, 10), (50, 50), (10, 50)], RED, 1, 0.5)
    assert canvas.pixels[30, 30].tolist() == [148, 148, 228]
    assert canvas.pixels[5, 5].tolist() == list(PAPER)
    assert drawn(canvas) == pytest.approx((9, 9, 51, 51), abs=1)


def test_print_on_keeps_the_darker_and_is_cut_at_the_page() -> None:
    canvas = Canvas.blank(20, 20)
    canvas.print_on(np.full((10, 10), 100, dtype=np.uint8), -5, 15)
    canvas.print_on(np.full((10, 10), 150, dtype=np.uint8), -5, 15)
    canvas.print_on(np.full((10, 10), 0, dtype=np.uint8), 40, 40)
    assert drawn(canvas) == (0, 15, 5, 20)
    assert canvas.pixels[17, 2].tolist() == [100, 100, 100]


@pytest.mark.parametrize("place", [(-50.0, -50.0), (190.0, 90.0), (500.0, 500.0)])
def test_nothing_beyond_the_page_is_an_error(place: tuple[float, float]) -> None:
    canvas = Canvas.blank(200, 100)
    x, y = place
    canvas.plate(x, y, 30, 30, INK, 0.5)
    canvas.outline([(x, y), (x + 30, y), (x, y + 30)], RED, 2, 0.3)
    canvas.dashed_box(x, y, 30, 30, INK)
    canvas.line(x, y, x + 30, y + 30, INK)
    canvas.text("X", x, y, 20)
    assert canvas.pixels.shape == (100, 200, 3)


def test_canvas_over_an_image_shows_it_magnified_and_leaves_it_alone() -> None:
    grey = np.full((40, 50), 77, dtype=np.uint8)
    canvas = Canvas.over(grey, 2.0)
    assert (canvas.width, canvas.height) == (100, 80)
    canvas.plate(0, 0, 100, 80, RED, 1.0)
    assert (grey == 77).all()
    plain = Canvas.over(grey)
    plain.plate(0, 0, 50, 40, RED, 1.0)
    assert (grey == 77).all()


def test_png_holds_the_pixels() -> None:
    canvas = Canvas.blank(30, 20)
    canvas.notice(12, INK, 0, 15)
    picture = cv2.imdecode(np.frombuffer(canvas.png(), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(picture, canvas.pixels)
