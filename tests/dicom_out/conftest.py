"""Films with a study to refer to, and answers about them."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.analysis import Analysis, Box, Film, Finding, Modality, QualityFlag, StageReport
from appliance.models.reference import FINDING_LABELS
from tests.imaging.dicom_writer import write_film

WIDTH, HEIGHT = 300, 200
STUDY, SERIES = "1.2.840.99999.1.1", "1.2.840.99999.1.2"


def film_file(**fields: object) -> bytes:
    pixels = np.linspace(0, 4095, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint16)
    named = {
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": SERIES,
        "PatientName": "Doe^Jane",
        "PatientID": "MRN-4711",
        "PatientBirthDate": "19500102",
        "PatientSex": "F",
        "AccessionNumber": "A-17",
        "StudyID": "S-3",
        "StudyDate": "20260102",
        "StudyTime": "101530.25",
        "ReferringPhysicianName": "Referrer^A",
        "BitsStored": 12,
        "HighBit": 11,
    }
    return write_film(pixels, **(named | fields))


def answer(film: Film) -> Analysis:
    ran = StageReport(
        stage="detect",
        time_ms=30.0,
        engine_ms=28.0,
        calls=1,
        model_name="chest-xray-demonstration",
        model_version="0.1.0",
        contract_hash="92ef" * 16,
        engine="openvino",
        device="CPU",
        precision="INT8",
    )
    return Analysis(
        result_id="0190",
        request_id="",
        modality=Modality.CHEST_XRAY,
        created_ms=1_790_000_000_000,
        image_width=WIDTH,
        image_height=HEIGHT,
        stages=(StageReport("decode", 4.0), ran),
        film=film,
    )


@pytest.fixture
def everything() -> Film:
    """Each of the 14 findings once, the last one over the whole film."""
    boxes = [Box(3.1 * i, 2.7 * i, 20.3 + i, 15.9) for i in range(len(FINDING_LABELS) - 1)]
    return Film(
        tuple(
            Finding(label, 0.9 - 0.05 * i, box)
            for i, (label, box) in enumerate(
                zip(FINDING_LABELS, [*boxes, Box(0.0, 0.0, WIDTH, HEIGHT)], strict=True)
            )
        ),
        (QualityFlag.LOW_CONTRAST, QualityFlag.DEMONSTRATION_MODEL),
    )
