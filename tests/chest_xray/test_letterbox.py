"""Boxes come back to the film exactly, at any aspect ratio."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.chest_xray.letterbox import Letterbox, film_input
from appliance.models.reference import FILM_FILL, FILM_SIZE

SHAPES = [
    (1024, 1024),
    (2022, 2022),
    (3056, 2544),
    (2544, 3056),
    (640, 640),
    (50, 40),
    (33, 4000),
    (4001, 37),
]


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_there_and_back_is_exact(height: int, width: int) -> None:
    box = Letterbox.fit(width, height, FILM_SIZE)
    rng = np.random.default_rng(1)
    corners = np.sort(rng.uniform(0, 1, (200, 2, 2)), axis=1).reshape(200, 4) * [width, height, width, height]
    back = box.to_film(box.to_input(corners))
    assert np.abs(back - corners).max() < 1e-6


@pytest.mark.parametrize(("height", "width"), [s for s in SHAPES if min(s) >= 400])
def test_a_bright_square_is_found_where_it_was(height: int, width: int) -> None:
    """Measured on the pixels: the mapping error stays below half a pixel of the network's input."""
    rng = np.random.default_rng(height)
    for _ in range(5):
        side_x, side_y = int(width * 0.2), int(height * 0.2)
        x0, y0 = int(rng.uniform(0, width - side_x)), int(rng.uniform(0, height - side_y))
        grey = np.zeros((height, width), dtype=np.uint8)
        grey[y0 : y0 + side_y, x0 : x0 + side_x] = 255
        tensor, box = film_input(grey, FILM_SIZE, 0)
        bright = tensor[0, 0].astype(np.float64)
        # The sums of the profiles give the edges to a fraction of a pixel.
        rows, columns = bright.max(axis=1), bright.max(axis=0)
        first_row, first_column = int(np.argmax(rows > 0.99)), int(np.argmax(columns > 0.99))
        edges = np.array(
            [
                first_column - columns[:first_column].sum(),
                first_row - rows[:first_row].sum(),
                first_column + columns[first_column:].sum(),
                first_row + rows[first_row:].sum(),
            ]
        )
        error = np.abs(box.to_film(edges[None])[0] - [x0, y0, x0 + side_x, y0 + side_y])
        assert error.max() < 0.5 * max(1.0, width / box.inner_width)


def test_input_has_the_layout_of_the_contract() -> None:
    grey = np.full((300, 600), 200, dtype=np.uint8)
    tensor, box = film_input(grey, FILM_SIZE, FILM_FILL)
    assert tensor.shape == (1, 3, FILM_SIZE, FILM_SIZE)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    assert (box.left, box.top, box.inner_width, box.inner_height) == (0, 160, 640, 320)
    assert tensor[0, :, 0, 0] == pytest.approx([114 / 255] * 3)
    assert tensor[0, :, 320, 320] == pytest.approx([200 / 255] * 3)


def test_boxes_end_at_the_film() -> None:
    box = Letterbox.fit(600, 300, FILM_SIZE)
    np.testing.assert_allclose(box.to_film(np.array([[-20.0, 0.0, 700.0, 640.0]])), [[0, 0, 600, 300]])
