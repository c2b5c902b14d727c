"""PNG, JPEG, TIFF, WebP and BMP → Image with OpenCV, in this process: the decoder worker's work."""

from __future__ import annotations

import struct
from collections.abc import Callable

import cv2
import numpy as np

from appliance.errors import CorruptImage, ImageTooLarge
from appliance.imaging.bmp import read_bmp_header
from appliance.imaging.exif import upright
from appliance.imaging.grey import Samples, to_grey
from appliance.imaging.header import Header
from appliance.imaging.image import Image, ImageLimits, MediaType
from appliance.imaging.jpeg import read_jpeg_header
from appliance.imaging.png import read_png_header
from appliance.imaging.tiff import read_tiff_header
from appliance.imaging.webp import read_webp_header

_READERS: dict[MediaType, Callable[[bytes], Header]] = {
    MediaType.PNG: read_png_header,
    MediaType.JPEG: read_jpeg_header,
    MediaType.TIFF: read_tiff_header,
    MediaType.WEBP: read_webp_header,
    MediaType.BMP: read_bmp_header,
}


def read_header(data: bytes, media_type: MediaType, limits: ImageLimits) -> Header:
    """The header of a raster file, within the limits; nothing is decoded and nothing large allocated.

    Raises:
        CorruptImage: the file ends or contradicts itself before the header does.
        UnsupportedFormat: a variant that is not read here, several frames among them.
        ImageTooLarge, ImageTooSmall: against the limits.
    """
    try:
        header = _READERS[media_type](data)
    except (struct.error, IndexError) as exc:
        raise CorruptImage(f"expected a complete {media_type.name} header and got {len(data)} bytes") from exc
    limits.check_size(header.width, header.height)
    return header


def decode_raster(data: bytes, media_type: MediaType, limits: ImageLimits) -> Image:
    """Decode in this process; run it where a crash of a native decoder may be afforded.

    Raises:
        CorruptImage, UnsupportedFormat, ImageTooLarge, ImageTooSmall: see `read_header`; CorruptImage also
        where the decoder refuses, ImageTooLarge where it runs out of memory.
    """
    header = read_header(data, media_type, limits)
    # A JPEG stores luma, so its grey needs no colour conversion; the rest is converted by our own rules.
    flags = cv2.IMREAD_UNCHANGED
    if media_type is MediaType.JPEG:
        flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    samples = _imdecode(data, flags, media_type)
    if samples.shape[:2] != (header.height, header.width):
        raise CorruptImage(
            f"expected {header.width} × {header.height} pixels, as the header says, and got "
            f"{samples.shape[1]} × {samples.shape[0]}"
        )
    if samples.dtype not in (np.uint8, np.uint16):
        raise CorruptImage(f"expected samples of {header.bit_depth} bits and got {samples.dtype}")
    grey = upright(to_grey(samples, header.alpha, header.inverted), header.orientation)
    return Image(grey, media_type, source_bit_depth=header.bit_depth)


def _imdecode(data: bytes, flags: int, media_type: MediaType) -> Samples:
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as exc:
        if exc.code == cv2.Error.STS_NO_MEM:
            raise ImageTooLarge(f"expected a {media_type.name} that decodes in the memory there is") from exc
        raise CorruptImage(
            f"expected a whole {media_type.name} file and got a truncated or broken one"
        ) from exc
    if decoded is None:
        raise CorruptImage(f"expected a whole {media_type.name} file and got a truncated or broken one")
    samples: Samples = decoded  # type: ignore[assignment]
    return samples
