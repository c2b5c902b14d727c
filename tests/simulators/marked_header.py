"""A DICOM film whose header is marked in every field that can hold text, at every depth.

More than the basic profile of PS3.15, annex E, asks: every attribute of the standard's dictionary whose value
is text, a date, a number as text or a UID, again inside a sequence inside a sequence, and private fields.
"""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from tests.imaging.dicom_writer import write_film

MARK = "MARK7QX9Z"
DATE = "19070823"
TIME = "030427"
NUMBER = "7391046"
UID_ROOT = "1.2.826.0.1.3680043.9.7391046"
MARKS = (MARK, DATE, f"{TIME}.519", NUMBER, UID_ROOT)
"""What must be found nowhere."""

_VALUES: dict[str, str] = {
    **dict.fromkeys(("PN", "LO", "SH", "ST", "LT", "UT", "UC", "UR", "AE", "CS"), MARK),
    "DA": DATE,
    "TM": f"{TIME}.519",
    "DT": f"{DATE}{TIME}.519",
    "AS": "107Y",
    "IS": NUMBER,
    "DS": NUMBER,
}
# What the film needs to be read at all; everything else is marked.
_KEPT = frozenset(
    (
        "SpecificCharacterSet",
        "Modality",
        "BodyPartExamined",
        "ViewPosition",
        "PhotometricInterpretation",
        "NumberOfFrames",
        "WindowCenter",
        "WindowWidth",
        "VOILUTFunction",
        "RescaleSlope",
        "RescaleIntercept",
        "Laterality",
        "ImageLaterality",
        "PatientOrientation",
        "PixelSpacing",
        "ImagerPixelSpacing",
        "NominalScannedPixelSpacing",
        "BurnedInAnnotation",
    )
)
_TABLES = frozenset(("ModalityLUTSequence", "VOILUTSequence", "ViewCodeSequence", "AnatomicRegionSequence"))
PRIVATE_BLOCKS = (0x0009, 0x0019, 0x0029, 0x7FE1)


def marked_fields(first_uid: int) -> dict[str, Any]:
    """Every markable field of the dictionary by keyword."""
    fields: dict[str, Any] = {}
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        group = tag >> 16
        if not keyword or keyword in _KEPT or group in (0x0000, 0x0002, 0x0006) or group >= 0x7F00:
            continue
        if vr == "UI":
            fields[keyword] = f"{UID_ROOT}.{first_uid + len(fields)}"
        elif vr in _VALUES:
            fields[keyword] = _VALUES[vr]
    return fields


def marked_film(pixels: NDArray[np.uint8], **fields: Any) -> bytes:
    """A chest film, marked everywhere, with `fields` set over the marks."""
    film = dcmread(io.BytesIO(_marked(pixels.tobytes(), pixels.shape)))
    defaults = {"ViewPosition": "PA", "StudyInstanceUID": f"{UID_ROOT}.1.1"}
    for keyword, value in {**defaults, **fields}.items():
        setattr(film, keyword, value)
    buffer = io.BytesIO()
    film.save_as(buffer)
    return buffer.getvalue()


@cache
def _marked(samples: bytes, shape: tuple[int, ...]) -> bytes:
    """The marks without changes: thousands of fields take a second to set."""
    pixels = np.frombuffer(samples, np.uint8).reshape(shape)
    film = dcmread(io.BytesIO(write_film(pixels, ExplicitVRLittleEndian)))
    _mark(film, 1)
    inner, outer = Dataset(), Dataset()
    _mark(inner, 10_000)
    _mark(outer, 20_000)
    outer.ReferencedStudySequence = [inner]
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if vr == "SQ" and keyword and keyword not in _TABLES and 0x0008 <= tag >> 16 <= 0x0040:
            setattr(film, keyword, [_one(keyword)])
    film.RequestAttributesSequence = [outer]
    for group in PRIVATE_BLOCKS:
        block = film.private_block(group, f"{MARK} PRIVATE", create=True)
        block.add_new(0x01, "LO", MARK)
        block.add_new(0x02, "OB", MARK.encode() + b"\0")
        block.add_new(0x03, "SQ", [inner])
    film.preamble = (MARK.encode() * 20)[:128]
    buffer = io.BytesIO()
    film.save_as(buffer)
    return buffer.getvalue()


def traces(haystack: bytes) -> set[str]:
    """The marks that are found in some bytes, as UTF-8 or UTF-16."""
    return {
        mark for mark in MARKS for coded in (mark.encode(), mark.encode("utf-16-le")) if coded in haystack
    }


def pixel_trace(pixels: NDArray[Any]) -> bytes:
    """Some neighbouring samples of the film as they stand in the file."""
    middle = pixels[pixels.shape[0] // 2]
    return np.ascontiguousarray(middle[middle.size // 3 :][:64]).tobytes()


def _mark(data_set: Dataset, first_uid: int) -> None:
    for keyword, value in marked_fields(first_uid).items():
        setattr(data_set, keyword, value)


def _one(keyword: str) -> Dataset:
    item = Dataset()
    item.CodeMeaning, item.PatientName, item.TextValue = f"{MARK} {keyword}"[:64], MARK, MARK
    return item
