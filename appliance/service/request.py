"""One request for an analysis as every edge hands it over, with its plain values checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from appliance.errors import InvalidInput
from appliance.imaging import PixelType
from appliance.imaging.page import PageFormat

MAX_REQUEST_ID_CHARACTERS = 128


@dataclass(frozen=True)
class RawImage:
    """Samples without a file format around them."""

    data: bytes
    shape: tuple[int, ...]  # (height, width) or (height, width, 3)
    pixel_type: PixelType


@dataclass(frozen=True)
class AnalysisRequest:
    """An image and what is wanted of it.

    Raises:
        InvalidInput: a pixel size that is no size, or a request id that is too long or not printable.
    """

    image: bytes | RawImage  # a whole file, or raw samples
    pixel_size_um: float | None = None  # micrometres per pixel
    request_id: str = ""  # the caller's own
    overlay: bool = False  # draw the result on the input
    karyogram_formats: tuple[PageFormat, ...] = ()  # draw the karyogram as these files
    structured_report: bool = False  # write a DICOM structured report; of DICOM films only
    secondary_capture: bool = False  # write the drawn film as DICOM; of DICOM films only

    @property
    def names_patient(self) -> bool:
        """Whether the answer carries DICOM files, which repeat the film's patient and study."""
        return self.structured_report or self.secondary_capture

    def __post_init__(self) -> None:
        size_um = self.pixel_size_um
        if size_um is not None and not (math.isfinite(size_um) and size_um > 0):
            raise InvalidInput(f"expected a pixel size above 0 µm and got {size_um:g}")
        if len(self.request_id) > MAX_REQUEST_ID_CHARACTERS:
            raise InvalidInput(
                f"expected a request id of at most {MAX_REQUEST_ID_CHARACTERS} characters"
                f" and got {len(self.request_id)}"
            )
        if not self.request_id.isprintable():
            raise InvalidInput("expected a printable request id and got control characters in it")
