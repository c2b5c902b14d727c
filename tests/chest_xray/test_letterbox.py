"""Boxes come back to the film exactly, at any aspect ratio."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from appliance.chest_xray.letterbox import Letterbox, film_input, film_pixels
from appliance.models.film_contract import FilmContract
from appliance.models.reference import FILM_SIZE
from tests.simulators.film_engines import film_contract

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
        tensor, box = film_input(grey, replace(film_contract(), fill=0))
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


@st.composite
def marked_films(draw: st.DrawFn) -> tuple[int, int, tuple[int, int, int, int]]:
    width, height = draw(st.integers(40, 3000)), draw(st.integers(40, 3000))
    left, top = draw(st.integers(0, width // 2)), draw(st.integers(0, height // 2))
    wide = draw(st.integers(max(8, width // 8), width - left))
    tall = draw(st.integers(max(8, height // 8), height - top))
    return width, height, (left, top, left + wide, top + tall)


@given(marked_films(), st.sampled_from([320, 640, 1024]))
@settings(max_examples=60, deadline=None)
def test_boxes_come_back_within_half_a_pixel_at_any_size_and_aspect_ratio(
    film: tuple[int, int, tuple[int, int, int, int]], size: int
) -> None:
    """Measured on the pixels: where a bright box lies in the input, and what that maps back to."""
    width, height, (x0, y0, x1, y1) = film
    grey = np.zeros((height, width), np.uint8)
    grey[y0:y1, x0:x1] = 255
    tensor, box = film_input(grey, replace(film_contract(size=size), fill=0))
    # the measure needs a pixel of the input that lies wholly in the box
    assume(3 * width <= (x1 - x0) * box.inner_width and 3 * height <= (y1 - y0) * box.inner_height)
    columns, rows = (tensor[0, 0].astype(np.float64).max(axis=axis) for axis in (0, 1))
    measured = []
    for profile in (columns, rows):
        # the grey left and right of a bright place inside is the length on either side of it, in input pixels
        inside = int(np.argmax(profile))
        first, last = inside - profile[:inside].sum(), inside + profile[inside:].sum()
        measured.append((first, last))
    edges = np.array([[measured[0][0], measured[1][0], measured[0][1], measured[1][1]]])
    error = np.abs(box.to_film(edges)[0] - [x0, y0, x1, y1])
    assert error.max() < 0.5
    truth = np.array([[x0, y0, x1, y1]], np.float64)
    assert np.abs(box.to_film(box.to_input(truth)) - truth).max() < 1e-6


def test_a_film_that_was_scaled_before_is_refused() -> None:
    scaled = np.full((100, 100), 0.5, np.float32)
    with pytest.raises(TypeError, match="expected grey levels as uint8, not scaled before, and got float32"):
        film_input(scaled, film_contract())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("contract", "brightest", "dtype"),
    [
        (film_contract(), 1.0, np.float32),
        (replace(film_contract(), divisor=1), 255.0, np.float32),
        (film_contract(datatype="FP16", size=1024), 1.0, np.float16),
    ],
)
def test_grey_is_divided_once(contract: FilmContract, brightest: float, dtype: type) -> None:
    grey = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    tensor, _ = film_input(grey, contract)
    assert (tensor.dtype, tensor.shape) == (dtype, (1, 3, contract.size, contract.size))
    assert (float(tensor.min()), float(tensor.max())) == pytest.approx(
        (0.0, brightest), abs=brightest * 0.005
    )


def test_input_has_the_layout_of_the_contract() -> None:
    grey = np.full((300, 600), 200, dtype=np.uint8)
    tensor, box = film_input(grey, film_contract())
    assert tensor.shape == (1, 3, FILM_SIZE, FILM_SIZE)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    assert (box.left, box.top, box.inner_width, box.inner_height) == (0, 160, 640, 320)
    assert tensor[0, :, 0, 0] == pytest.approx([114 / 255] * 3)
    assert tensor[0, :, 320, 320] == pytest.approx([200 / 255] * 3)


def test_pixels_are_the_input_before_its_division() -> None:
    grey = np.random.default_rng(2).integers(0, 256, (300, 600), np.uint8)
    tensor, box = film_input(grey, film_contract())
    pixels, same_box = film_pixels(grey, film_contract())
    assert (pixels.dtype, pixels.shape, same_box) == (np.uint8, (1, FILM_SIZE, FILM_SIZE, 3), box)
    np.testing.assert_array_equal(pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255), tensor)


def test_boxes_end_at_the_film() -> None:
    box = Letterbox.fit(600, 300, FILM_SIZE)
    np.testing.assert_allclose(box.to_film(np.array([[-20.0, 0.0, 700.0, 640.0]])), [[0, 0, 600, 300]])
