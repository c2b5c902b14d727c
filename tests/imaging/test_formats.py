"""Every format round trip, through the worker: depth, colour, alpha, orientation."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from appliance.errors import UnsupportedFormat
from appliance.imaging import ImageDecoder, MediaType, encode_png, sniff
from tests.imaging.tiff_writer import write_tiff

Grey = NDArray[np.uint8]


def encoded(extension: str, array: NDArray[np.generic], *options: int) -> bytes:
    done, data = cv2.imencode(extension, array, list(options))
    assert done
    return data.tobytes()


def saved(picture: Pillow.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(grey: Grey, orientation: int) -> Grey:
    """EXIF 2.32, 4.6.4 A, spelt out: which side of the scene row 0 and column 0 show."""
    return {
        1: grey,  # top, left
        2: grey[:, ::-1],  # top, right
        3: np.rot90(grey, 2),  # bottom, right
        4: grey[::-1],  # bottom, left
        5: grey.T,  # left, top
        6: np.rot90(grey, -1),  # right, top
        7: np.rot90(grey, 2).T,  # right, bottom
        8: np.rot90(grey, 1),  # left, bottom
    }[orientation]


def luma(rgb: Grey) -> NDArray[np.float64]:
    return rgb.astype(np.float64) @ [0.299, 0.587, 0.114]


@pytest.mark.parametrize(
    ("extension", "options", "media_type"),
    [
        (".png", (), MediaType.PNG),
        (".tif", (), MediaType.TIFF),
        (".tif", (cv2.IMWRITE_TIFF_COMPRESSION, 1), MediaType.TIFF),
        (".tif", (cv2.IMWRITE_TIFF_COMPRESSION, 8), MediaType.TIFF),
        (".bmp", (), MediaType.BMP),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 101), MediaType.WEBP),
    ],
)
def test_grey_comes_back_exactly(
    decoder: ImageDecoder, grey: Grey, extension: str, options: tuple[int, ...], media_type: MediaType
) -> None:
    data = encoded(extension, grey, *options)
    image = decoder.decode(data)
    np.testing.assert_array_equal(image.grey, grey)
    assert (image.width, image.height, image.source_bit_depth) == (70, 48, 8)
    assert image.media_type is media_type is sniff(data)
    assert image.modality_hint is None
    assert image.pixel_size_um is None
    assert image.grey.flags.c_contiguous
    assert not image.grey.flags.writeable


@pytest.mark.parametrize("progressive", [0, 1])
def test_jpeg_comes_back_closely(decoder: ImageDecoder, grey: Grey, progressive: int) -> None:
    data = encoded(".jpg", grey, cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    image = decoder.decode(data)
    assert np.abs(image.grey.astype(int) - grey).max() <= 3
    assert image.media_type is MediaType.JPEG


@pytest.mark.parametrize("extension", [".png", ".tif", ".bmp"])
def test_colour_becomes_bt601_luma(decoder: ImageDecoder, rgb: Grey, extension: str) -> None:
    image = decoder.decode(encoded(extension, rgb[:, :, ::-1]))
    assert np.abs(image.grey - luma(rgb)).max() <= 1


def test_colour_jpeg_becomes_luma(decoder: ImageDecoder, rgb: Grey) -> None:
    image = decoder.decode(encoded(".jpg", rgb[:, :, ::-1], cv2.IMWRITE_JPEG_QUALITY, 100))
    assert np.abs(image.grey - luma(rgb)).mean() < 1


@pytest.mark.parametrize("extension", [".png", ".tif"])
@pytest.mark.parametrize("brightest", [255, 1023, 4095, 65535])
def test_16_bits_are_scaled_by_the_brightest_sample(
    decoder: ImageDecoder, grey: Grey, extension: str, brightest: int
) -> None:
    deep = np.rint(grey / grey.max() * brightest).astype(np.uint16)
    image = decoder.decode(encoded(extension, deep))
    assert np.abs(image.grey - deep / brightest * 255).max() <= 0.51
    assert image.source_bit_depth == 16


def test_16_bit_colour(decoder: ImageDecoder, rgb: Grey) -> None:
    deep = rgb[:, :, ::-1].astype(np.uint16) * np.uint16(257)
    image = decoder.decode(encoded(".png", deep))
    expected = luma(rgb) / luma(rgb).max() * 255
    assert np.abs(image.grey - expected).max() <= 1


def test_a_black_16_bit_image_stays_black(decoder: ImageDecoder) -> None:
    image = decoder.decode(encoded(".png", np.zeros((40, 40), np.uint16)))
    assert image.grey.max() == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_is_composited_on_white(decoder: ImageDecoder, dtype: type[np.unsignedinteger]) -> None:
    full = np.iinfo(dtype).max
    bgra = np.zeros((40, 60, 4), dtype)
    bgra[:, :20, 3] = full  # opaque black
    bgra[:, 20:40, 3] = full // 2  # half transparent black
    image = decoder.decode(encoded(".png", bgra))
    assert image.grey[0, 0] == 0
    assert image.grey[0, 30] in (127, 128)
    assert image.grey[0, 59] == 255


@pytest.mark.parametrize(
    ("extra_samples", "dtype", "expected"),
    [
        (0, np.uint8, 100),  # unspecified: no opacity, dropped
        (1, np.uint8, 100 + 128),  # colours already multiplied
        (2, np.uint8, 100 // 2 + 128),  # straight
        (2, np.uint16, 100 // 2 + 128),
    ],
)
def test_tiff_alpha(
    decoder: ImageDecoder, extra_samples: int, dtype: type[np.unsignedinteger], expected: int
) -> None:
    scale = np.iinfo(dtype).max // 255
    rgba = np.full((40, 60, 4), 100 * scale, dtype)
    rgba[:, :, 3] = 127 * scale
    rgba[0, 0] = np.iinfo(dtype).max  # opaque white keeps the 16-bit scale
    image = decoder.decode(write_tiff([rgba], photometric=2, tags={338: extra_samples}))
    assert abs(int(image.grey[20, 30]) - expected) <= 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_white_is_zero(
    decoder: ImageDecoder, grey: Grey, order: str, dtype: type[np.unsignedinteger]
) -> None:
    scale = np.iinfo(dtype).max // 255
    stored = ((255 - grey.astype(np.uint32)) * scale).astype(dtype)
    stored[0, 0] = 0  # white
    image = decoder.decode(write_tiff([stored], photometric=0, order=order))
    expected = grey.copy()
    expected[0, 0] = 255
    assert np.abs(image.grey.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_tiff(decoder: ImageDecoder, grey: Grey, orientation: int) -> None:
    image = decoder.decode(write_tiff([grey], tags={274: orientation}))
    np.testing.assert_array_equal(image.grey, turned(grey, orientation))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_from_exif(decoder: ImageDecoder, grey: Grey, kind: str, orientation: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100}, "PNG": {}, "WEBP": {"lossless": True}}[kind]
    data = saved(Pillow.fromarray(grey), kind, exif=exif.tobytes(), **options)
    image = decoder.decode(data)
    expected = turned(grey, orientation)
    assert image.grey.shape == expected.shape
    assert np.abs(image.grey.astype(int) - expected).max() <= (3 if kind == "JPEG" else 0)


def test_broken_exif_is_no_reason_to_refuse(decoder: ImageDecoder, grey: Grey) -> None:
    data = saved(Pillow.fromarray(grey), "PNG", exif=b"II*\0\xff\xff\xff\xff")
    np.testing.assert_array_equal(decoder.decode(data).grey, grey)


def test_palette_png(decoder: ImageDecoder, rgb: Grey) -> None:
    palette = Pillow.fromarray(rgb).quantize(32)
    image = decoder.decode(saved(palette, "PNG"))
    assert np.abs(image.grey - luma(np.asarray(palette.convert("RGB")))).max() <= 1


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_compressions(decoder: ImageDecoder, grey: Grey, compression: str) -> None:
    data = saved(Pillow.fromarray(grey), "TIFF", compression=compression)
    np.testing.assert_array_equal(decoder.decode(data).grey, grey)


def test_a_thumbnail_beside_the_page_is_no_second_page(decoder: ImageDecoder, grey: Grey) -> None:
    data = bytearray(write_tiff([grey, grey[:40, :40]]))
    second = data.rindex(b"\xfe\x00\x03\x00\x01\x00\x00\x00")  # tag 254 of the last directory
    data[second + 8] = 1
    np.testing.assert_array_equal(decoder.decode(bytes(data)).grey, grey)


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (write_tiff([np.zeros((40, 40), np.uint8)] * 3), "3 pages"),
        (write_tiff([np.zeros((40, 40), np.float32)], tags={339: 3}), "32"),
        (write_tiff([np.zeros((40, 40), np.int16)], tags={339: 2}), "sample format 2"),
        (write_tiff([np.zeros((40, 40), np.uint8)], tags={259: 50000}), "number 50000"),
        (write_tiff([np.zeros((40, 40, 2), np.uint8)]), "2 samples"),
        (saved(Pillow.new("CMYK", (40, 40)), "JPEG"), "4"),
        (saved(Pillow.new("1", (40, 40)), "TIFF"), "(1,) bits"),
        (saved(Pillow.new("L", (40, 40)), "GIF"), "GIF"),
        (saved(Pillow.new("L", (40, 40)), "PDF"), "PDF"),
        (b"%!PS-Adobe", "10 bytes"),
    ],
)
def test_variants_that_are_refused_by_name(decoder: ImageDecoder, data: bytes, got: str) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        decoder.decode(data)
    assert got in str(caught.value).split(" got ", 1)[1]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(decoder: ImageDecoder, kind: str) -> None:
    frames = [Pillow.new("L", (40, 40), shade) for shade in (0, 100, 200)]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedFormat, match="one frame and got an animated"):
        decoder.decode(data)


def test_encode_png_is_read_back(decoder: ImageDecoder, grey: Grey, rgb: Grey) -> None:
    np.testing.assert_array_equal(decoder.decode(encode_png(grey)).grey, grey)
    back = cv2.imdecode(np.frombuffer(encode_png(rgb), np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(back, rgb)


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_encode_png_refuses_other_arrays(array: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        encode_png(array)
