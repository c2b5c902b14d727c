"""What survives of a DICOM header: an allow-list of two frozen records, and nothing else leaves the decoder.

`FilmTags` says what a film shows, in closed words. `FilmReferences` names the film, for a report that has to
refer to it: it lives in the memory of one request, is never stored, logged or printed, and holds the
patient's fields only where a report was asked for. No pydicom here, so that the daemon may import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from appliance.analysis import Laterality, View

ANOTHER = "another one"
"""Stands for a value that is none of the standard's own words: free text of a header is not repeated."""

CHEST = "CHEST"
RADIOGRAPHY = frozenset(("CR", "DX", "DR", "RG"))
"""Modalities that make chest films: computed, digital, on film; DR is not standard but sent."""


@dataclass(frozen=True)
class FilmTags:
    """What a header says that its image shows; no field of it can hold free text."""

    modality: str = ""  # a defined term of PS3.3 C.7.3.1.1.1, ANOTHER, or empty where not stated
    body_part: str = ""  # CHEST, a defined term of PS3.16 annex L, ANOTHER, or empty where not stated
    view: View = View.NOT_STATED
    laterality: Laterality = Laterality.NOT_STATED
    orientation: int = 1  # EXIF orientation 1…8 that brings the film upright, the patient's left on the right
    orientation_stated: bool = False
    burned_in: bool | None = None  # Burned In Annotation (0028,0301); None where not stated


@dataclass(frozen=True)
class PatientFields:
    """The patient and study modules that a report has to repeat (PS3.3, C.7.1.1 and C.7.2.1)."""

    patient_name: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    patient_birth_date: str = field(default="", repr=False)
    patient_sex: str = field(default="", repr=False)
    study_date: str = field(default="", repr=False)
    study_time: str = field(default="", repr=False)
    study_id: str = field(default="", repr=False)
    accession_number: str = field(default="", repr=False)
    referring_physician_name: str = field(default="", repr=False)


@dataclass(frozen=True)
class FilmReferences:
    """Which film it is; empty where the header does not say, or says what is no UID."""

    study_instance_uid: str = field(default="", repr=False)
    series_instance_uid: str = field(default="", repr=False)
    sop_instance_uid: str = field(default="", repr=False)
    sop_class_uid: str = field(default="", repr=False)
    rows: int = 0  # pixels, as stored
    columns: int = 0
    pixel_spacing_mm: tuple[float, float] | None = None  # between rows and between columns
    patient: PatientFields | None = field(default=None, repr=False)  # only where a report was asked for


_MAX_CHARACTERS = 256  # of one field on the way from a worker; the standard's longest name has 194


def to_tree(record: FilmTags | FilmReferences | None) -> dict[str, Any] | None:
    """What `parse_tags` or `parse_references` reads, of JSON's types."""
    return None if record is None else asdict(record)


def parse_tags(tree: Mapping[str, Any] | None) -> FilmTags | None:
    """What a decoder worker sent; KeyError, TypeError or ValueError where it did not keep the form."""
    if tree is None:
        return None
    orientation, burned_in = int(tree["orientation"]), tree["burned_in"]
    if not 1 <= orientation <= 8 or burned_in not in (None, True, False):
        raise ValueError("expected an orientation from 1 to 8 and a truth value and got others")
    return FilmTags(
        modality=_text(tree["modality"]),
        body_part=_text(tree["body_part"]),
        view=View(tree["view"]),
        laterality=Laterality(tree["laterality"]),
        orientation=orientation,
        orientation_stated=bool(tree["orientation_stated"]),
        burned_in=burned_in,
    )


def parse_references(tree: Mapping[str, Any] | None) -> FilmReferences | None:
    """What a decoder worker sent; raises like `parse_tags`."""
    if tree is None:
        return None
    spacing_mm, patient = tree["pixel_spacing_mm"], tree["patient"]
    return FilmReferences(
        study_instance_uid=_text(tree["study_instance_uid"]),
        series_instance_uid=_text(tree["series_instance_uid"]),
        sop_instance_uid=_text(tree["sop_instance_uid"]),
        sop_class_uid=_text(tree["sop_class_uid"]),
        rows=int(tree["rows"]),
        columns=int(tree["columns"]),
        pixel_spacing_mm=None if spacing_mm is None else (float(spacing_mm[0]), float(spacing_mm[1])),
        patient=None
        if patient is None
        else PatientFields(**{one.name: _text(patient[one.name]) for one in fields(PatientFields)}),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_CHARACTERS:
        raise ValueError(f"expected a text of at most {_MAX_CHARACTERS} characters and got another value")
    return value
