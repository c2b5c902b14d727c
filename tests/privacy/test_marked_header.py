"""Marked identifiers in every field of a header: none of them is stored, answered or logged."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pydicom", reason='the extra "dicom" is not installed')

from google.protobuf.json_format import MessageToJson

from appliance.pb import analysis_pb2 as a
from appliance.pb.chest_xray_pb2 import AnalyzeChestXrayRequest, AnalyzeChestXrayResponse
from appliance.pb.chest_xray_pb2_grpc import ChestXrayServiceStub
from appliance.pb.result_pb2 import GetResultRequest, ListResultsRequest
from appliance.pb.result_pb2_grpc import ResultServiceStub
from appliance.phantoms.demo import demo_chest_film
from tests.simulators.appliance import Bench
from tests.simulators.marked_header import UID_ROOT, marked_fields, marked_film, pixel_trace, traces

WAIT_S = 30.0


@dataclass
class Watched:
    """A running bench and all that it says."""

    bench: Bench
    films: ChestXrayServiceStub
    results: ResultServiceStub
    log: list[str]

    def send(self, film: bytes, **wishes: Any) -> AnalyzeChestXrayResponse:
        request = AnalyzeChestXrayRequest(encoded=film, render=a.RenderOptions(overlay=True, **wishes))
        return self.films.AnalyzeChestXray(request, timeout=WAIT_S)

    def kept(self) -> bytes:
        """Every byte that the box has stored, and every line that it has logged."""
        files = sorted(path for path in self.bench.folder.rglob("*") if path.is_file())
        return b"".join(path.read_bytes() for path in files) + "\n".join(self.log).encode()


class _Listener(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(f"{record.getMessage()} {record.__dict__}")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    lines: list[str] = []
    listener, root = _Listener(lines), logging.getLogger()
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    try:
        with (
            Bench(tmp_path_factory.mktemp("state")) as bench,
            grpc.insecure_channel(bench.serve()) as channel,
        ):
            yield Watched(bench, ChestXrayServiceStub(channel), ResultServiceStub(channel), lines)
    finally:
        root.removeHandler(listener)
        root.setLevel(level)


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    return demo_chest_film().image


def test_thousands_of_fields_are_marked(pixels: NDArray[np.uint8]) -> None:
    assert len(marked_fields(1)) > 2000
    assert len(traces(marked_film(pixels))) == 5


def test_no_mark_is_stored_answered_or_logged(watched: Watched, pixels: NDArray[np.uint8]) -> None:
    film = marked_film(pixels)
    reply = watched.send(film)
    assert reply.film.view == a.VIEW_PA
    stored = watched.results.GetResult(GetResultRequest(result_id=reply.result_id), timeout=WAIT_S)
    page = watched.results.ListResults(ListResultsRequest(), timeout=WAIT_S)
    said = b"".join(one.SerializeToString() for one in (reply, stored, page))
    said += MessageToJson(reply).encode()
    assert traces(said) == set()
    assert traces(watched.kept()) == set()
    assert pixel_trace(pixels) not in watched.kept()
    assert stored.result.film == reply.film


def test_uids_are_pseudonyms_that_hold_results_together(watched: Watched, pixels: NDArray[np.uint8]) -> None:
    first = watched.send(marked_film(pixels, SOPInstanceUID=f"{UID_ROOT}.9.1")).film.source
    second = watched.send(marked_film(pixels, SOPInstanceUID=f"{UID_ROOT}.9.2")).film.source
    assert first.study_pseudonym == second.study_pseudonym
    assert first.series_pseudonym == second.series_pseudonym
    assert first.instance_pseudonym != second.instance_pseudonym
    assert all(
        one.startswith("2.25.")
        for one in (first.study_pseudonym, first.series_pseudonym, first.instance_pseudonym)
    )


def test_a_report_names_the_patient_to_the_caller_and_to_nobody_else(
    watched: Watched, pixels: NDArray[np.uint8]
) -> None:
    sop_class = "1.2.840.10008.5.1.4.1.1.1.1"
    reply = watched.send(marked_film(pixels, SOPClassUID=sop_class), structured_report=True)
    assert traces(reply.renderings.structured_report_dicom)
    reply.renderings.ClearField("structured_report_dicom")
    assert traces(reply.SerializeToString()) == set()
    assert traces(watched.kept()) == set()


@pytest.mark.parametrize(
    "wrong",
    [
        {"ViewPosition": "LL"},
        {"ViewPosition": "MARK7QX9Z"},
        {"BodyPartExamined": "MARK7QX9Z"},
        {"Modality": "MARK7QX9Z"},
        {"NumberOfFrames": 3},
        {"PhotometricInterpretation": "MARK7QX9Z"},
        {"BitsAllocated": 32},
        {"Rows": 60000},
        {"PixelData": b"MARK7QX9Z"},
    ],
    ids=lambda wrong: json.dumps(str(wrong)),
)
def test_refusals_repeat_no_mark(watched: Watched, pixels: NDArray[np.uint8], wrong: dict[str, Any]) -> None:
    try:
        said = watched.send(marked_film(pixels, **wrong)).SerializeToString()
    except grpc.RpcError as exc:
        said = f"{exc.details()} {exc.trailing_metadata()}".encode()
    assert traces(said) == set()
    assert traces(watched.kept()) == set()


def test_a_file_cut_anywhere_repeats_no_mark(watched: Watched, pixels: NDArray[np.uint8]) -> None:
    film = marked_film(pixels)
    refused = 0
    for length in (140, 200, 1000, 20_000, len(film) // 4, len(film) // 2, len(film) - 10):
        try:
            said = watched.send(film[:length]).SerializeToString()  # private fields behind the pixels may go
        except grpc.RpcError as exc:
            said, refused = f"{exc.details()} {exc.trailing_metadata()}".encode(), refused + 1
        assert traces(said) == set()
    assert refused >= 5
    assert traces(watched.kept()) == set()
