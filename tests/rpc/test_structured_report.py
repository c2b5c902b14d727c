"""A structured report as part of the answer about a film."""

from __future__ import annotations

from io import BytesIO

import cv2
import grpc
import numpy as np
import pytest
from pydicom import dcmread

from appliance.pb import analysis_pb2 as a
from appliance.pb.chest_xray_pb2 import AnalyzeChestXrayRequest
from appliance.pb.karyotype_pb2 import AnalyzeMetaphaseRequest
from appliance.pb.result_pb2 import GetResultRequest
from tests.imaging.dicom_writer import PATIENT
from tests.rpc.conftest import Wire
from tests.simulators.appliance import chest_dicom, film_png, spread_png

WANTED = a.RenderOptions(structured_report=True)
WAIT_S = 30.0


def test_a_film_comes_back_as_a_report_and_nothing_of_the_patient_stays(wire: Wire) -> None:
    reply = wire.chest_xray.AnalyzeChestXray(
        AnalyzeChestXrayRequest(encoded=chest_dicom(), render=WANTED), timeout=WAIT_S
    )
    report = dcmread(BytesIO(reply.renderings.structured_report_dicom))
    assert report.PatientName == PATIENT
    assert report.StudyInstanceUID == dcmread(BytesIO(chest_dicom())).StudyInstanceUID
    assert reply.stages[-1].stage == "report"
    stored = wire.results.GetResult(GetResultRequest(result_id=reply.result_id), timeout=WAIT_S)
    assert stored.result.film == reply.film
    for needle in (PATIENT, str(report.StudyInstanceUID), str(report.SOPInstanceUID)):
        for file in wire.bench.folder.glob("results.db*"):
            assert needle.encode() not in file.read_bytes()


def test_a_secondary_capture_shows_the_drawn_film(wire: Wire) -> None:
    request = AnalyzeChestXrayRequest(encoded=chest_dicom(), render=a.RenderOptions(secondary_capture=True))
    renderings = wire.chest_xray.AnalyzeChestXray(request, timeout=WAIT_S).renderings
    assert not renderings.overlay_png
    assert not renderings.structured_report_dicom
    capture = dcmread(BytesIO(renderings.secondary_capture_dicom))
    assert capture.PatientName == PATIENT
    request.render.overlay = True
    overlay = wire.chest_xray.AnalyzeChestXray(request, timeout=WAIT_S).renderings.overlay_png
    drawn = cv2.cvtColor(cv2.imdecode(np.frombuffer(overlay, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.array_equal(capture.pixel_array, drawn)


def test_without_the_wish_there_is_none(wire: Wire) -> None:
    request = AnalyzeChestXrayRequest(encoded=chest_dicom())
    assert not wire.chest_xray.AnalyzeChestXray(request, timeout=WAIT_S).renderings.structured_report_dicom


@pytest.mark.parametrize("kind", ["png", "raw"])
def test_a_film_that_is_no_dicom_is_refused_before_it_is_analysed(wire: Wire, kind: str) -> None:
    request = AnalyzeChestXrayRequest(render=WANTED)
    if kind == "png":
        request.encoded = film_png()
    else:
        request.raw.CopyFrom(a.RawPixels(data=bytes(4096), shape=[64, 64], dtype=a.PIXEL_TYPE_UINT8))
    with pytest.raises(grpc.RpcError, match="DICOM film") as caught:
        wire.chest_xray.AnalyzeChestXray(request, timeout=WAIT_S)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not wire.bench.engines.begun.acquire(blocking=False)


def test_a_spread_has_no_such_report(wire: Wire) -> None:
    with pytest.raises(grpc.RpcError, match="chest film"):
        wire.karyotype.AnalyzeMetaphase(
            AnalyzeMetaphaseRequest(encoded=spread_png(), render=WANTED), timeout=WAIT_S
        )
