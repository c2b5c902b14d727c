"""DICOM header → `FilmTags` and `FilmReferences`: the fields that are read, each held against the standard.

Source: DICOM PS3.3, C.7.6.1 (patient orientation), C.8.11 (DX: view, laterality, anatomic region), C.8.1 (CR:
body part, view position); PS3.16, CID 4010 (DX view) and 4031 (anatomic region).
"""

from __future__ import annotations

import math
import re
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from appliance.analysis import Laterality, View
from appliance.errors import CorruptImage
from appliance.imaging.dicom_words import BODY_PARTS, CHEST_CODES, CHEST_WORDS, MODALITIES
from appliance.imaging.film_tags import ANOTHER, CHEST, FilmReferences, FilmTags, PatientFields

_LATERAL_WORDS = frozenset(("LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT"))
_VIEW_CODES = {
    **dict.fromkeys(("272479007", "R-40888", "R-10214"), View.PA),
    **dict.fromkeys(("399348003", "R-10206"), View.AP),
    **dict.fromkeys(("399033003", "R-10202"), View.FRONTAL),
    **dict.fromkeys(("399198007", "R-10232", "399173006", "R-10236", "399067008", "R-102CD"), View.LATERAL),
}
_LATERALITIES = {
    "L": Laterality.LEFT,
    "R": Laterality.RIGHT,
    "B": Laterality.BOTH,
    "U": Laterality.UNPAIRED,
}
# Where rows and columns run → EXIF orientation; shown upright, rows run to the patient's left and columns to
# the feet.
_ORIENTATIONS = {"LF": 1, "RF": 2, "RH": 3, "LH": 4, "FL": 5, "FR": 6, "HR": 7, "HL": 8}  # fmt: skip
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")  # calibrated first
_UID = re.compile(r"[0-9.]{1,64}")
_PATIENT_FIELDS = {  # field → keyword, most characters (PS3.5, 6.2; names have up to three groups)
    "patient_name": ("PatientName", 194),
    "patient_id": ("PatientID", 64),
    "patient_birth_date": ("PatientBirthDate", 8),
    "patient_sex": ("PatientSex", 16),
    "study_date": ("StudyDate", 8),
    "study_time": ("StudyTime", 16),
    "study_id": ("StudyID", 16),
    "accession_number": ("AccessionNumber", 16),
    "referring_physician_name": ("ReferringPhysicianName", 194),
}


def read_film_tags(data_set: Dataset) -> FilmTags:
    """What the header says that the image shows."""
    row, column = _directions(data_set)
    burned_in = {"YES": True, "NO": False}.get(_code_string(data_set, "BurnedInAnnotation"))
    side = _code_string(data_set, "ImageLaterality") or _code_string(data_set, "Laterality")
    return FilmTags(
        modality=_known(_code_string(data_set, "Modality"), MODALITIES),
        body_part=_body_part(data_set),
        view=_view(data_set, {row, column}),
        laterality=_LATERALITIES.get(side, Laterality.NOT_STATED),
        orientation=_ORIENTATIONS.get(row + column, 1),
        orientation_stated=row + column in _ORIENTATIONS,
        burned_in=burned_in,
    )


def read_references(data_set: Dataset, for_report: bool) -> FilmReferences:
    """Which film it is.

    Args:
        data_set: of the file.
        for_report: with the patient's fields, and strict: a report that refers to the wrong film or names the
            patient by half is worse than none.

    Raises:
        CorruptImage: `for_report` and a UID is missing or a field breaks the standard's bounds.
    """
    uids = {
        "study_instance_uid": _uid(data_set, "StudyInstanceUID", for_report),
        "series_instance_uid": _uid(data_set, "SeriesInstanceUID", for_report),
        "sop_instance_uid": _uid(data_set, "SOPInstanceUID", for_report),
        "sop_class_uid": _uid(data_set, "SOPClassUID", for_report),
    }
    return FilmReferences(
        **uids,
        rows=int(data_set.Rows),
        columns=int(data_set.Columns),
        pixel_spacing_mm=pixel_spacing_mm(data_set),
        patient=_patient(data_set) if for_report else None,
    )


def pixel_spacing_mm(data_set: Dataset) -> tuple[float, float] | None:
    """Millimetres between rows and between columns, from the first field that has two positive numbers."""
    for keyword in _SPACINGS:
        try:
            row_mm, column_mm = (float(number) for number in data_set.get(keyword))
        except (TypeError, ValueError):
            continue  # absent, empty or not two numbers: the next field may know
        if math.isfinite(row_mm) and math.isfinite(column_mm) and min(row_mm, column_mm) > 0:
            return row_mm, column_mm
    return None


def _code_string(data_set: Dataset, keyword: str) -> str:
    """A code string in upper case, the first of several; empty where there is none."""
    value = data_set.get(keyword)
    if value is not None and not isinstance(value, str) and hasattr(value, "__getitem__"):
        value = value[0] if len(value) else None
    return "" if value is None else str(value).strip().upper()


def _known(word: str, words: frozenset[str]) -> str:
    return word if word in words or not word else ANOTHER


def _codes(data_set: Dataset, keyword: str) -> list[str]:
    items = data_set.get(keyword)
    return [str(item.get("CodeValue", "")).strip() for item in items] if items else []


def _body_part(data_set: Dataset) -> str:
    """Body Part Examined, and where it is empty the Anatomic Region Sequence, which DX prefers."""
    text = _code_string(data_set, "BodyPartExamined")
    words = set(re.findall("[A-Z]+", text))
    if words & CHEST_WORDS and not words & BODY_PARTS:
        return CHEST
    if text:
        return next((word for word in (text, *sorted(words)) if word in BODY_PARTS), ANOTHER)
    codes = _codes(data_set, "AnatomicRegionSequence")
    if not any(codes):
        return ""
    return CHEST if set(codes) <= CHEST_CODES else ANOTHER


def _view(data_set: Dataset, directions: set[str]) -> View:
    """The view, from three fields; where they contradict each other, the one that is not frontal."""
    said = {_view_of_words(_code_string(data_set, "ViewPosition"))}
    said |= {_VIEW_CODES.get(code, View.OTHER) for code in _codes(data_set, "ViewCodeSequence") if code}
    if directions & {"A", "P"}:
        said.add(View.LATERAL)  # rows or columns run from the back to the front: seen from the side
    for view in (View.LATERAL, View.OTHER, View.PA, View.AP, View.FRONTAL):
        if view in said:
            return view
    return View.NOT_STATED


def _view_of_words(text: str) -> View:
    words = set(re.findall("[A-Z]+", text))
    if not words:
        return View.NOT_STATED
    if words & _LATERAL_WORDS:
        return View.LATERAL
    if len(words & {"PA", "AP"}) == 1 and not any("OBL" in word or "DECUB" in word for word in words):
        return View.PA if "PA" in words else View.AP
    return View.OTHER


def _directions(data_set: Dataset) -> tuple[str, str]:
    """Principal directions of rows and columns (PS3.3, C.7.6.1.1.1), empty where not stated."""
    value = data_set.get("PatientOrientation")
    if value is None or isinstance(value, str) or len(value) != 2:
        return "", ""
    row, column = (str(part).strip().upper()[:1] for part in value)
    return row, column


def _uid(data_set: Dataset, keyword: str, required: bool) -> str:
    value = str(data_set.get(keyword) or "").strip("\0 ")
    if _UID.fullmatch(value):
        return value
    if required:
        got = "something else" if value else "none"
        raise CorruptImage(f"expected a DICOM UID as {keyword}, for the report to refer to, and got {got}")
    return ""


def _patient(data_set: Dataset) -> PatientFields:
    values = {}
    for name, (keyword, most) in _PATIENT_FIELDS.items():
        value: Any = data_set.get(keyword)
        if isinstance(value, MultiValue):
            raise CorruptImage(
                f"expected one {keyword}, for the report to repeat, and got {len(value)} of them"
            )
        text = "" if value is None else str(value).strip("\0 ")
        if len(text) > most or not text.isprintable():
            raise CorruptImage(
                f"expected {keyword} of at most {most} printable characters, for the report to repeat, and"
                f" got {len(text)} characters"
            )
        values[name] = text
    return PatientFields(**values)
