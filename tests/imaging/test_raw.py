"""Raw samples: what agrees is taken as documented, what does not is refused with the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.errors import (
    DtypeMismatch,
    EmptyInput,
    ImageTooLarge,
    ImageTooSmall,
    NonFinitePixels,
    UnsuitableImage,
)
from appliance.imaging import ImageLimits, MediaType, PixelType, decode_raw

LIMITS = ImageLimits()


def test_uint8_as_it_is(grey: NDArray[np.uint8]) -> None:
    image = decode_raw(grey.tobytes(), grey.shape, PixelType.UINT8, LIMITS)
    np.testing.assert_array_equal(image.grey, grey)
    assert (image.media_type, image.source_bit_depth) == (MediaType.RAW, 8)


def test_the_image_does_not_share_memory_with_the_bytes(grey: NDArray[np.uint8]) -> None:
    data = grey.tobytes()
    image = decode_raw(data, grey.shape, PixelType.UINT8, LIMITS)
    assert not np.shares_memory(image.grey, np.frombuffer(data, np.uint8))


def test_colour_is_red_first(rgb: NDArray[np.uint8]) -> None:
    image = decode_raw(rgb.tobytes(), rgb.shape, PixelType.UINT8, LIMITS)
    assert np.abs(image.grey - rgb.astype(float) @ [0.299, 0.587, 0.114]).max() <= 1


def test_uint16_is_scaled_by_the_brightest_sample(grey: NDArray[np.uint8]) -> None:
    deep = grey.astype("<u2") * 16
    image = decode_raw(deep.tobytes(), (*deep.shape, 1), PixelType.UINT16, LIMITS)
    assert np.abs(image.grey - deep / deep.max() * 255).max() <= 0.51
    assert image.source_bit_depth == 16


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1000.0, 3000.0), (-3e38, 3e38), (1e-40, 2e-40)])
def test_float_is_stretched_from_its_smallest_to_its_largest(low: float, high: float) -> None:
    ramp = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    samples = (low * (1 - ramp) + high * ramp).astype("<f4")
    image = decode_raw(samples.tobytes(), samples.shape, PixelType.FLOAT32, LIMITS)
    assert np.abs(image.grey - ramp * 255).max() <= 0.6
    assert image.source_bit_depth == 32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_pixel_that_is_no_number(bad: float) -> None:
    samples = np.linspace(0, 1, 64 * 64, dtype="<f4").reshape(64, 64).copy()
    samples[5, 7] = bad
    with pytest.raises(NonFinitePixels, match="got 1 that are NaN or infinite"):
        decode_raw(samples.tobytes(), samples.shape, PixelType.FLOAT32, LIMITS)


def test_all_pixels_nan() -> None:
    samples = np.full((64, 64), np.nan, "<f4")
    with pytest.raises(NonFinitePixels, match="got 4096"):
        decode_raw(samples.tobytes(), samples.shape, PixelType.FLOAT32, LIMITS)


def test_a_constant_float_image_has_no_black_and_white() -> None:
    samples = np.full((64, 64), 0.5, "<f4")
    with pytest.raises(UnsuitableImage, match=r"got 0\.5 everywhere"):
        decode_raw(samples.tobytes(), samples.shape, PixelType.FLOAT32, LIMITS)


@pytest.mark.parametrize(
    ("size", "shape", "pixel_type", "message"),
    [
        (4096, (64, 64), PixelType.UINT16, "expected 8192 bytes for UINT16"),
        (8192, (64, 64), PixelType.UINT8, "expected 4096 bytes for UINT8"),
        (4096 * 4 - 1, (64, 64), PixelType.FLOAT32, "expected 16384 bytes"),
        (4096, (4096,), PixelType.UINT8, r"got \(4096,\)"),
        (4096, (64, 64, 2), PixelType.UINT8, r"got \(64, 64, 2\)"),
        (4096, (1, 64, 64, 1), PixelType.UINT8, r"got \(1, 64, 64, 1\)"),
        (4096, (-64, -64), PixelType.UINT8, r"got \(-64, -64\)"),
        (4096, (0, 64), PixelType.UINT8, r"got \(0, 64\)"),
        (4096, (), PixelType.UINT8, r"got \(\)"),
    ],
)
def test_bytes_shape_and_dtype_that_do_not_agree(
    size: int, shape: tuple[int, ...], pixel_type: PixelType, message: str
) -> None:
    with pytest.raises(DtypeMismatch, match=message):
        decode_raw(bytes(size), shape, pixel_type, LIMITS)


def test_against_the_limits() -> None:
    with pytest.raises(EmptyInput):
        decode_raw(b"", (64, 64), PixelType.UINT8, LIMITS)
    with pytest.raises(ImageTooSmall):
        decode_raw(b"\0", (1, 1), PixelType.UINT8, LIMITS)
    with pytest.raises(ImageTooLarge, match="60000 × 60000"):
        decode_raw(b"\0", (60_000, 60_000), PixelType.UINT8, LIMITS)
    with pytest.raises(ImageTooLarge, match="bytes"):
        decode_raw(bytes(101), (64, 64), PixelType.UINT8, ImageLimits(max_bytes=100))
