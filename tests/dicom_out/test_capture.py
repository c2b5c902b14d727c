from __future__ import annotations

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom import dcmread

from appliance.analysis import Film
from appliance.chest_xray.overlay import draw_overlay
from appliance.dicom_out.reports import DicomReports
from appliance.imaging import ImageLimits
from appliance.imaging.dicom import decode_dicom
from tests.dicom_out.conftest import STUDY, answer, film_file
from tests.simulators.dicom_tools import run_tool


def capture_of(film: Film, data: bytes) -> tuple[bytes, bytes]:
    """The capture, and the overlay that it shows."""
    image = decode_dicom(data, ImageLimits(), for_report=True)
    overlay = draw_overlay(image.grey, film)
    return DicomReports("2.25.1").begin(image.references).secondary_capture(answer(film), overlay), overlay


def test_it_shows_the_drawing_and_refers_to_the_film(everything: Film) -> None:
    data = film_file(PatientName="山田^太郎", SpecificCharacterSet="ISO_IR 192")
    captured, overlay = capture_of(everything, data)
    capture, film = dcmread(BytesIO(captured)), dcmread(BytesIO(data))
    drawn = cv2.cvtColor(cv2.imdecode(np.frombuffer(overlay, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.array_equal(capture.pixel_array, drawn)
    assert str(capture.PatientName) == str(film.PatientName)
    assert capture.StudyInstanceUID == STUDY
    assert len({capture.SeriesInstanceUID, film.SeriesInstanceUID}) == 2
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == film.SOPInstanceUID
    assert capture.SeriesDescription == capture.ImageComments == "Research use only, not for diagnosis"


def test_public_validators_find_no_error(everything: Film, tmp_path: Path) -> None:
    path = tmp_path / "capture.dcm"
    path.write_bytes(capture_of(everything, film_file())[0])
    status, said = run_tool("dciodvfy", path)
    assert "Error" not in said, said
    assert status == 0
    assert run_tool("dcmftest", path)[0] == 0


def test_an_overlay_that_is_no_picture(everything: Film) -> None:
    writer = DicomReports("2.25.1").begin(decode_dicom(film_file(), ImageLimits(), True).references)
    with pytest.raises(ValueError, match="PNG"):
        writer.secondary_capture(answer(everything), b"rubbish")
