"""The decoded image as the pipelines take it, and the limits that every input has to keep."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Modality
from appliance.errors import EmptyInput, ImageTooLarge, ImageTooSmall
from appliance.imaging.film_tags import FilmReferences, FilmTags


class MediaType(str, enum.Enum):
    """What a caller's bytes are; the value is the registered media type where there is one."""

    PNG = "image/png"
    JPEG = "image/jpeg"
    TIFF = "image/tiff"
    WEBP = "image/webp"
    BMP = "image/bmp"
    DICOM = "application/dicom"
    RAW = "application/octet-stream"  # samples with a shape and a dtype told beside them


@dataclass(frozen=True)
class ImageLimits:
    """Hard limits of one input; each is checked before the work it bounds is begun."""

    max_bytes: int = 64 * 2**20  # the largest 16-bit chest film (17 Mpx) uncompressed is 34 MB
    max_pixels: int = 64 * 2**20  # 8192 × 8192; chest films end at 17 Mpx, microscope cameras near 50 Mpx
    max_side: int = 20_000  # pixels; longer is a whole-slide scan or a lie in the header
    min_side: int = 32  # pixels; no spread or film can be judged below that
    decode_time_s: float = 5.0  # of one image, on the slowest box; typical is 0.02 s

    def check_bytes(self, size_bytes: int) -> None:
        """Raise EmptyInput or ImageTooLarge unless an input of `size_bytes` may be looked at."""
        if size_bytes == 0:
            raise EmptyInput("expected an image and got 0 bytes")
        if size_bytes > self.max_bytes:
            raise ImageTooLarge(f"expected at most {self.max_bytes} bytes and got {size_bytes}")

    def check_size(self, width: int, height: int) -> None:
        """Raise ImageTooSmall or ImageTooLarge unless width × height pixels may be decoded."""
        if max(width, height) > self.max_side:
            raise ImageTooLarge(
                f"expected sides of at most {self.max_side} pixels and got {width} × {height}"
            )
        if width * height > self.max_pixels:
            raise ImageTooLarge(
                f"expected at most {self.max_pixels} pixels and got {width} × {height} = {width * height}"
            )
        if min(width, height) < self.min_side:
            raise ImageTooSmall(
                f"expected sides of at least {self.min_side} pixels and got {width} × {height}"
            )


@dataclass(frozen=True, eq=False)
class Image:
    """One decoded image: grey, 8 bits, dark and bright as a viewer would show them.

    Nothing but what is listed here survives decoding. Raster files come upright; a DICOM film lies as it was
    sent, and `tags.orientation` says how to turn it. `references` is for the request's own memory: it is not
    stored, logged or printed.
    """

    grey: NDArray[np.uint8]  # (height, width), C-contiguous, read-only
    media_type: MediaType
    source_bit_depth: int  # bits that one sample had in the file or on the wire
    modality_hint: Modality | None = None  # what a DICOM header says that the image shows
    pixel_size_um: float | None = None  # micrometres per pixel, from a DICOM header only
    tags: FilmTags | None = None  # of a DICOM file only
    references: FilmReferences | None = field(default=None, repr=False)  # of a DICOM file only

    def __post_init__(self) -> None:
        if self.grey.dtype != np.uint8 or self.grey.ndim != 2 or not self.grey.flags.c_contiguous:
            raise ValueError(
                "expected a C-contiguous uint8 array of shape (height, width) and got "
                f"{self.grey.dtype} of shape {self.grey.shape}"
            )
        self.grey.flags.writeable = False

    @property
    def width(self) -> int:
        """Pixels from left to right, after any EXIF orientation was applied."""
        return int(self.grey.shape[1])

    @property
    def height(self) -> int:
        """Pixels from top to bottom, after any EXIF orientation was applied."""
        return int(self.grey.shape[0])
