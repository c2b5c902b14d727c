"""The few header fields of a DICOM film that decoding needs, parsed and checked; no other field is read.

Source: DICOM PS3.3, C.7.6.3 (image pixel), C.11 (look-up tables), 10.7 (pixel spacing of projection images).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID

from appliance.analysis import Modality
from appliance.errors import CorruptImage, UnsupportedFormat
from appliance.imaging.dicom_display import LookupTable, Presentation, Window, WindowFunction
from appliance.imaging.film_tags import CHEST, RADIOGRAPHY, FilmTags

_MONOCHROME = frozenset(("MONOCHROME1", "MONOCHROME2"))
_COLOUR = frozenset(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"))
_OTHER_PIXELS = ("FloatPixelData", "DoubleFloatPixelData", "PixelDataProviderURL")
_ISOTROPY = 0.01  # rows and columns may differ by 1 % before one number stops being the truth
_MAX_LUT_ENTRIES = 65536


@dataclass(frozen=True)
class FilmHeader:
    """Geometry and coding of the one frame of a film."""

    width: int  # pixels
    height: int  # pixels
    colour: bool  # three samples a pixel instead of one
    photometric: str
    bits_allocated: int  # 8 or 16
    bits_stored: int
    high_bit: int  # position of the most significant stored bit
    signed: bool


def read_film_header(data_set: Dataset) -> FilmHeader:
    """The image pixel module.

    Raises:
        CorruptImage: a field is absent or contradicts another.
        UnsupportedFormat: no image, several frames, float pixels, a palette, more than 16 bits.
    """
    if "PixelData" not in data_set:
        if _claims_pixels(data_set):
            raise CorruptImage("expected a DICOM image with its pixels and got a file that ends before them")
        raise UnsupportedFormat("expected a DICOM file with integer pixel data and got one without")
    frames = _integer(data_set, "NumberOfFrames", 1)
    if frames != 1:
        raise UnsupportedFormat(f"expected one frame and got {frames} frames")
    photometric = str(data_set.get("PhotometricInterpretation", "")).strip().upper()
    samples = _integer(data_set, "SamplesPerPixel", 1)
    if (photometric, samples) not in {(p, 1) for p in _MONOCHROME} | {(p, 3) for p in _COLOUR}:
        known = photometric if photometric in {"PALETTE COLOR", *_MONOCHROME, *_COLOUR} else "another one"
        raise UnsupportedFormat(
            "expected photometric interpretation MONOCHROME1 or 2 with 1 sample or RGB or YBR with 3, "
            f"and got {known} with {samples}"
        )
    allocated = _integer(data_set, "BitsAllocated")
    stored = _integer(data_set, "BitsStored", allocated)
    high_bit = _integer(data_set, "HighBit", stored - 1)
    if allocated not in ((8,) if samples == 3 else (8, 16)):
        raise UnsupportedFormat(f"expected 8 or 16 bits a sample (colour: 8) and got {allocated}")
    if not 1 <= stored <= allocated or not stored - 1 <= high_bit < allocated:
        raise CorruptImage(
            f"expected bits stored and high bit within {allocated} bits and got {stored} and {high_bit}"
        )
    return FilmHeader(
        width=_integer(data_set, "Columns"),
        height=_integer(data_set, "Rows"),
        colour=samples == 3,
        photometric=photometric,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high_bit,
        signed=_integer(data_set, "PixelRepresentation", 0) == 1,
    )


def read_presentation(data_set: Dataset) -> Presentation:
    """Look-up tables and windows; a first item or value stands for the group, as a viewer's default does.

    A window that makes no sense is left out, as if it were absent: `Presentation` then shows the film's own
    range. A look-up table that makes no sense is an error: the values cannot be read without it.

    The presentation LUT shape is not asked: DX allows INVERSE with MONOCHROME1 alone and IDENTITY with
    MONOCHROME2 alone (PS3.3, C.8.11.3), so it says nothing new, and where it contradicts, viewers go by the
    photometric interpretation.

    Raises:
        CorruptImage: a look-up table whose descriptor and data do not agree.
    """
    slope = _number(data_set, "RescaleSlope")
    return Presentation(
        monochrome1=str(data_set.get("PhotometricInterpretation", "")).strip().upper() == "MONOCHROME1",
        slope=1.0 if slope is None or slope == 0 else slope,
        intercept=_number(data_set, "RescaleIntercept") or 0.0,
        modality_lut=_lookup_table(data_set, "ModalityLUTSequence"),
        voi_lut=_lookup_table(data_set, "VOILUTSequence"),
        window=_window(data_set),
        padding=_padding(data_set),
    )


def modality_hint(tags: FilmTags) -> Modality | None:
    """CHEST_XRAY for a radiograph whose body part says chest; None where the header does not say."""
    chest = tags.modality in RADIOGRAPHY and tags.body_part == CHEST
    return Modality.CHEST_XRAY if chest else None


def pixel_size_um(spacing_mm: tuple[float, float] | None) -> float | None:
    """Micrometres per pixel; None where there is no one number for both directions."""
    if spacing_mm is None or max(spacing_mm) - min(spacing_mm) > _ISOTROPY * max(spacing_mm):
        return None
    return 1000 * sum(spacing_mm) / 2


def _claims_pixels(data_set: Dataset) -> bool:
    """Whether integer pixels were there before the file was cut: pydicom reads the rest without a word."""
    if not len(data_set):  # a cut inside encapsulated pixels makes it drop everything
        return True
    storage = UID(str(data_set.get("SOPClassUID", ""))).name
    has_size = "Rows" in data_set or "Image Storage" in storage
    return has_size and not any(keyword in data_set for keyword in _OTHER_PIXELS)


def _first(data_set: Dataset, keyword: str) -> Any:
    """The first of one or several values, or None."""
    value = data_set.get(keyword)
    if isinstance(value, (str, bytes)) or not hasattr(value, "__getitem__"):
        return value
    return value[0] if len(value) else None


def _integer(data_set: Dataset, keyword: str, *default: Any) -> Any:
    """An integer field; without a default its absence is an error."""
    value = _first(data_set, keyword)
    if value is None or value == "":
        if not default:
            raise CorruptImage(f"expected a DICOM header with {keyword} and got none")
        return default[0]
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise CorruptImage(f"expected an integer as DICOM {keyword} and got something else") from exc


def _number(data_set: Dataset, keyword: str) -> float | None:
    """A finite number, or None where there is none."""
    try:
        value = float(_first(data_set, keyword))
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _window(data_set: Dataset) -> Window | None:
    centre, width = _number(data_set, "WindowCenter"), _number(data_set, "WindowWidth")
    if centre is None or width is None or width <= 0:
        return None
    function = str(data_set.get("VOILUTFunction", "LINEAR")).strip().upper()
    known = {member.value: member for member in WindowFunction}
    return Window(centre, width, known.get(function, WindowFunction.LINEAR))


def _padding(data_set: Dataset) -> tuple[int, int] | None:
    """First and last stored value that is padding (PS3.3, C.7.5.1.1.2), or None."""
    value = _integer(data_set, "PixelPaddingValue", None)
    if value is None:
        return None
    ends = (value, _integer(data_set, "PixelPaddingRangeLimit", value))
    if _integer(data_set, "PixelRepresentation", 0) == 1:  # a writer may have given the bits as unsigned
        bits = _integer(data_set, "BitsAllocated", 16)
        ends = tuple(end - (1 << bits) if end >= 1 << (bits - 1) else end for end in ends)
    return min(ends), max(ends)


def _lookup_table(data_set: Dataset, keyword: str) -> LookupTable | None:
    sequence = data_set.get(keyword)
    if not sequence:
        return None
    item = sequence[0]
    wrong = f"expected a {keyword} whose descriptor and data agree and got another"
    descriptor, raw = item.get("LUTDescriptor"), item.get("LUTData")
    if descriptor is None or raw is None or len(descriptor) != 3:
        raise CorruptImage(wrong)
    count, first, bits = (int(number) for number in descriptor)
    count = (count & 0xFFFF) or _MAX_LUT_ENTRIES  # 0 stands for 65536; a signed reading wraps
    if isinstance(raw, bytes):
        wide = len(raw) >= 2 * count
        entries = np.frombuffer(raw, "<u2" if wide else "u1", count).astype(np.uint16)
    else:
        entries = np.asarray(raw).astype(np.uint16)
    if len(entries) < count or not 1 <= bits <= 16:
        raise CorruptImage(wrong)
    return LookupTable(first, entries[:count], bits)
