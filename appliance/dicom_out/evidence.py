"""What highdicom copies into a report: the film's references as a data set, without what DICOM forbids.

Source: DICOM PS3.3, C.7.1.1 (patient), C.7.2.1 (general study); PS3.5, 6.2 (DA, TM) and 9.1 (UID).
"""

from __future__ import annotations

import re
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import UID

from appliance.errors import CorruptImage
from appliance.imaging.film_tags import FilmReferences, PatientFields

_SEXES: Final = frozenset(("M", "F", "O"))
_TIME: Final = re.compile(r"(?:[01]\d|2[0-3])(?:[0-5]\d(?:[0-5]\d(?:\.\d{1,6})?)?)?")
_DATE: Final = re.compile(r"\d{4}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")


def evidence_of(references: FilmReferences) -> Dataset:
    """The film as a report names it.

    Identifiers are repeated letter for letter, right or wrong: a changed one would file the report under
    nobody. Dates and a sex that DICOM does not allow are left empty.

    Raises:
        CorruptImage: a UID is none, or is not that of an image.
    """
    evidence = Dataset()
    for keyword, uid in {
        "StudyInstanceUID": references.study_instance_uid,
        "SeriesInstanceUID": references.series_instance_uid,
        "SOPInstanceUID": references.sop_instance_uid,
        "SOPClassUID": references.sop_class_uid,
    }.items():
        if not UID(uid).is_valid:
            raise CorruptImage(
                f"expected a DICOM UID as {keyword}, for the report to refer to, and got another"
            )
        setattr(evidence, keyword, uid)
    if "ImageStorage" not in UID(references.sop_class_uid).keyword:
        raise CorruptImage("expected a DICOM film of a storage class for images and got another SOPClassUID")
    patient = references.patient or PatientFields()
    evidence.PatientName = patient.patient_name
    evidence.PatientID = patient.patient_id
    evidence.PatientBirthDate = _if_like(_DATE, patient.patient_birth_date)
    evidence.PatientSex = patient.patient_sex if patient.patient_sex in _SEXES else ""
    evidence.StudyDate = _if_like(_DATE, patient.study_date)
    evidence.StudyTime = _if_like(_TIME, patient.study_time)
    evidence.StudyID = patient.study_id
    evidence.AccessionNumber = patient.accession_number
    evidence.ReferringPhysicianName = patient.referring_physician_name
    return evidence


def character_set(evidence: Dataset) -> str | None:
    """UTF-8 where the text needs it, else DICOM's default repertoire, which everyone reads."""
    return None if all(str(element.value).isascii() for element in evidence) else "ISO_IR 192"


def _if_like(form: re.Pattern[str], text: str) -> str:
    return text if form.fullmatch(text) else ""
