"""The codes that reports speak in: standard ones where a standard has the meaning, else a private scheme.

Sources: DICOM PS3.16 (context groups 6102 to 6105 for findings on chest images, 6048 for "Certainty of
Finding"); SNOMED CT; UCUM. A private scheme's designator begins with 99 (PS3.3, 8.2).
"""

from __future__ import annotations

import hashlib
from typing import Final

from highdicom.sr import CodedConcept

PRIVATE_SCHEME: Final = "99ANALYZER"
PRIVATE_SCHEME_NAME: Final = "Hospital analyzer appliance"
MAX_MEANING_CHARACTERS: Final = 64  # VR LO


def _snomed(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, "SCT", meaning)


def _dicom(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, "DCM", meaning)


def _private(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, PRIVATE_SCHEME, meaning)


CERTAINTY: Final = _dicom("111012", "Certainty of Finding")
COMMENT: Final = _dicom("121106", "Comment")
FINDING_CATEGORY: Final = _dicom("111059", "Single Image Finding")
PERCENT: Final = CodedConcept("%", "UCUM", "Percent")
NUMBER_OF_FINDINGS: Final = _private("XR100", "Findings that reached their threshold")
FINDINGS: Final = CodedConcept("{findings}", "UCUM", "findings")
CHEST_RADIOGRAPHY: Final = _snomed("399208008", "Plain X-ray of chest")

FINDING_CODES: Final[dict[str, CodedConcept]] = {
    "Aortic enlargement": _private("XR001", "Aortic enlargement"),
    "Atelectasis": _snomed("46621007", "Atelectasis"),
    "Calcification": _snomed("18115005", "Pathologic calcification"),
    "Cardiomegaly": _snomed("8186001", "Cardiomegaly"),
    "Consolidation": _snomed("95436008", "Lung consolidation"),
    "ILD": _snomed("233703007", "Interstitial lung disease"),
    "Infiltration": _dicom("112121", "Infiltrate"),
    "Lung Opacity": _dicom("112001", "Opacity"),
    "Nodule/Mass": _private("XR002", "Nodule or mass"),
    "Other lesion": _private("XR003", "Other lesion"),
    "Pleural effusion": _snomed("60046008", "Pleural effusion"),
    "Pleural thickening": _private("XR004", "Pleural thickening"),
    "Pneumothorax": _snomed("36118008", "Pneumothorax"),
    "Pulmonary fibrosis": _snomed("51615001", "Pulmonary fibrosis"),
}
"""The 14 findings of VinDr-CXR. Private where no single standard concept says the same."""


def finding_code(label: str) -> CodedConcept:
    """The code of a model's label; a label that is not listed gets a private code made from its text."""
    known = FINDING_CODES.get(label)
    if known is not None:
        return known
    return _private("XL" + hashlib.sha256(label.encode()).hexdigest()[:12].upper(), meaning(label))


def meaning(text: str) -> str:
    """Text that fits a code meaning: one line of at most 64 characters without a backslash, never empty."""
    line = "".join(letter if letter.isprintable() and letter != "\\" else " " for letter in text).strip()
    return line[:MAX_MEANING_CHARACTERS] or "unnamed"
