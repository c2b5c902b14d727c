"""Headers that ask for too much or too little are refused before any memory or worker is spent."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from appliance.errors import CorruptImage, EmptyInput, ImageTooLarge, ImageTooSmall, UnsupportedFormat
from appliance.imaging import ImageDecoder, ImageLimits, encode_png
from tests.imaging.tiff_writer import write_tiff


def png_chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def png(width: int, height: int, pixels: bytes = b"\0" * 100) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, payload) for name, payload in chunks)


def jpeg(width: int, height: int) -> bytes:
    app0 = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0" + bytes(9)
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\x00"
    return b"\xff\xd8" + app0 + frame + b"\xff\xda" + bytes(100) + b"\xff\xd9"


def bmp(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 154, 0, 0, 54) + info + bytes(100)


def tiff(width: int, height: int) -> bytes:
    return write_tiff([np.zeros((40, 40), np.uint8)], tags={256: width, 257: height, 278: height})


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(name + struct.pack("<I", len(load)) + load for name, load in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_canvas(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff(
        (b"VP8X", bytes(4) + size), (b"VP8L", webp_lossless(min(width, 1 << 14), min(height, 1 << 14)))
    )


def webp_lossless(width: int, height: int) -> bytes:
    return b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(50 + 1)


@pytest.mark.parametrize("forge", [png, jpeg, bmp, tiff])
def test_60000_by_60000_is_refused_without_a_worker_or_memory(forge: object) -> None:
    assert callable(forge)
    data = forge(60_000, 60_000)
    with ImageDecoder() as decoder:
        tracemalloc.start()
        try:
            with pytest.raises(ImageTooLarge, match="at most 20000 pixels and got 60000 × 60000"):
                decoder.decode(data)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak_bytes < 2**20
        assert decoder.worker_pids == ()


def test_webp_sides_are_14_bits_so_only_pixels_can_be_too_many() -> None:
    with ImageDecoder() as decoder, pytest.raises(ImageTooLarge, match="16384 × 16384 = 268435456"):
        decoder.decode(riff((b"VP8L", webp_lossless(16384, 16384))))


def test_a_small_image_on_a_huge_webp_canvas_is_refused() -> None:
    with ImageDecoder() as decoder, pytest.raises(CorruptImage, match="as large as its canvas"):
        decoder.decode(webp_canvas(60_000, 60_000))


@pytest.mark.parametrize("forge", [png, jpeg, bmp, tiff])
def test_1_by_1_is_too_small(forge: object) -> None:
    assert callable(forge)
    with ImageDecoder() as decoder, pytest.raises(ImageTooSmall, match="at least 32 pixels and got 1 × 1"):
        decoder.decode(forge(1, 1))


@pytest.mark.parametrize("forge", [png, jpeg, bmp, tiff])
def test_many_pixels_with_short_sides_are_too_many(forge: object) -> None:
    assert callable(forge)
    with ImageDecoder() as decoder, pytest.raises(ImageTooLarge, match="at most 67108864 pixels"):
        decoder.decode(forge(20_000, 3_400))


def test_no_bytes() -> None:
    with ImageDecoder() as decoder, pytest.raises(EmptyInput, match="got 0 bytes"):
        decoder.decode(b"")


def test_too_many_bytes() -> None:
    limits = ImageLimits(max_bytes=1000)
    with (
        ImageDecoder(limits) as decoder,
        pytest.raises(ImageTooLarge, match="at most 1000 bytes and got 1001"),
    ):
        decoder.decode(b"\x89PNG\r\n\x1a\n" + bytes(993))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (png(40, 40)[:-14], "expected a PNG of at least"),
        (b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 2**30, b"tEXt") + bytes(40), "begins with an IHDR chunk"),
        (png(40, 40)[:33] + struct.pack(">I4s", 2**31, b"tEXt") + bytes(40), "at least 2147483693 bytes"),
        (b"BM" + bytes(12) + struct.pack("<I", 13) + bytes(40), "12 or 40…256 bytes and got 13"),
        (b"\xff\xd8\xff\xd9", "start of frame"),
        (b"II*\0" + struct.pack("<I", 8) + b"\0\0" + struct.pack("<I", 8), "none twice"),
        (b"II*\0" + struct.pack("<I", 1 << 30), "complete TIFF header and got 8 bytes"),
        (riff((b"VP8L", webp_lossless(40, 40)))[:-10], "expected a WebP of"),
    ],
)
def test_headers_that_lie_about_their_own_bytes(data: bytes, message: str) -> None:
    with ImageDecoder() as decoder, pytest.raises(CorruptImage, match=message):
        decoder.decode(data)


def test_a_png_with_far_more_pixels_than_its_header_says(decoder: ImageDecoder) -> None:
    bomb = png(64, 64, bytes(50 * 2**20))
    assert len(bomb) < 100_000
    image = decoder.decode(bomb)  # libpng inflates the rows it was told of and ignores the rest
    assert (image.width, image.height) == (64, 64)


def test_limits_belong_to_the_decoder() -> None:
    picture = encode_png(np.zeros((50, 60), np.uint8))
    with ImageDecoder(ImageLimits(max_side=55)) as decoder, pytest.raises(ImageTooLarge, match="60 × 50"):
        decoder.decode(picture)


def test_bigtiff_is_named() -> None:
    with ImageDecoder() as decoder, pytest.raises(UnsupportedFormat, match="got BigTIFF"):
        decoder.decode(b"II+\0\x08\0\0\0" + bytes(40))
