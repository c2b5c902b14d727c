"""The drawn film as a DICOM secondary capture: for viewers that show no regions of a structured report.

Source: DICOM PS3.3, A.8.1 (secondary capture image IOD), C.8.6; PS3.16, CID 7202 (source image purposes).
"""

from __future__ import annotations

from datetime import datetime

import cv2
import numpy as np
from highdicom.sc import SCImage
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from appliance import __version__
from appliance.analysis import Analysis
from appliance.dicom_out.evidence import character_set
from appliance.dicom_out.report import MANUFACTURER, NOTICE, SERIES_NUMBER, ReportedFilm, new_uid


def secondary_capture(film: ReportedFilm, analysis: Analysis, overlay_png: bytes) -> SCImage:
    """The image, with new series and instance UIDs, referring to the film that it was drawn on.

    Args:
        film: as its header names it.
        analysis: what was answered about it.
        overlay_png: the drawn film.
    """
    blue_first = cv2.imdecode(np.frombuffer(overlay_png, np.uint8), cv2.IMREAD_COLOR)
    if blue_first is None:
        raise ValueError("expected an overlay that is a PNG file and got other bytes")
    evidence = film.evidence
    when = datetime.fromtimestamp(analysis.created_ms / 1000)
    image = SCImage(
        pixel_array=np.ascontiguousarray(blue_first[:, :, ::-1]),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=evidence.StudyInstanceUID,
        series_instance_uid=new_uid(),
        series_number=SERIES_NUMBER + 1,
        sop_instance_uid=new_uid(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=__version__,
        series_description=NOTICE,
        patient_id=evidence.PatientID,
        patient_name=evidence.PatientName,
        patient_birth_date=evidence.PatientBirthDate,
        patient_sex=evidence.PatientSex,
        accession_number=evidence.AccessionNumber,
        study_id=evidence.StudyID,
        study_date=evidence.StudyDate,
        study_time=evidence.StudyTime,
        referring_physician_name=evidence.ReferringPhysicianName,
        patient_orientation=("L", "F"),  # highdicom wants one
        specific_character_set=character_set(evidence),
        content_date=when.date(),
        content_time=when.time(),
    )
    # type 2, so they may be empty: the drawing lies as the film does
    image.PatientOrientation = []
    image.Laterality = ""
    image.ImageComments = NOTICE
    image.SeriesDate, image.SeriesTime = image.ContentDate, image.ContentTime
    image.SourceImageSequence = [_source(evidence)]
    return image


def _source(evidence: Dataset) -> Dataset:
    purpose, item = Dataset(), Dataset()
    code = codes.DCM.SourceImageForImageProcessingOperation
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = code.value, "DCM", code.meaning
    item.ReferencedSOPClassUID = evidence.SOPClassUID
    item.ReferencedSOPInstanceUID = evidence.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item
