"""The two pipelines over the wire: replies, their JSON form, and one status for each way to be wrong."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import grpc
import numpy as np
import pytest

from appliance import RESEARCH_USE_ONLY
from appliance.analysis import CHROMOSOME_LABELS
from appliance.cli.outputs import to_json
from appliance.errors import InferenceFailed, LimitExceeded, ModelUnavailable
from appliance.imaging import encode_png
from appliance.pb import analysis_pb2 as a
from appliance.pb.chest_xray_pb2 import AnalyzeChestXrayRequest
from appliance.pb.karyotype_pb2 import AnalyzeMetaphaseRequest, AnalyzeMetaphaseStreamRequest
from appliance.pb.result_pb2 import GetResultRequest, ListResultsRequest
from tests.rpc.conftest import Wire
from tests.simulators.appliance import chest_dicom, spread_png

WAIT_S = 30.0
FLOAT, BYTE = a.PIXEL_TYPE_FLOAT32, a.PIXEL_TYPE_UINT8


def raw(data: bytes, shape: tuple[int, ...], dtype: a.PixelType.ValueType = BYTE) -> AnalyzeMetaphaseRequest:
    return AnalyzeMetaphaseRequest(raw=a.RawPixels(data=data, shape=shape, dtype=dtype))


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def refusal(wire: Wire, request: AnalyzeMetaphaseRequest, timeout_s: float = WAIT_S) -> tuple[str, str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        wire.karyotype.AnalyzeMetaphase(request, timeout=timeout_s)
    call = caught.value
    assert isinstance(call, grpc.Call)
    kind = dict(call.trailing_metadata() or ()).get("appliance-error", "")
    return call.code().name, str(kind), call.details() or ""


def test_a_spread_and_its_json(wire: Wire) -> None:
    reply = wire.karyotype.AnalyzeMetaphase(
        AnalyzeMetaphaseRequest(
            encoded=spread_png(),
            pixel_size_um=0.065,
            request_id="slide 7",
            render=a.RenderOptions(
                overlay=True, karyogram=True, karyogram_formats=[a.PAGE_FORMAT_SVG, a.PAGE_FORMAT_PNG]
            ),
        ),
        timeout=WAIT_S,
    )
    assert reply.notice == RESEARCH_USE_ONLY
    assert reply.renderings.overlay_png.startswith(b"\x89PNG")
    assert reply.renderings.karyogram_png.startswith(b"\x89PNG")
    assert reply.renderings.karyogram_svg.startswith(b"<?xml")
    assert not reply.renderings.karyogram_pdf
    reply.ClearField("renderings")
    tree = json.loads(to_json(reply))
    spread = tree["spread"]
    assert spread["count"] == len(wire.bench.truth.masks) == len(spread["chromosomes"])
    assert ("iscn" in spread) != ("iscnWithheldReason" in spread)
    first = spread["chromosomes"][0]
    assert set(first["box"]) == {"x", "y", "width", "height"}
    assert first["label"] in CHROMOSOME_LABELS
    assert first["runnerUp"] in CHROMOSOME_LABELS
    assert first["polarity"] in {"P_ARM_UP", "Q_ARM_UP", "UNSURE"}
    assert {"confidence", "angleDegrees", "polarityConfidence", "touching", "needsExpert"} <= set(first)
    assert len(first["mask"][0]["points"]) >= 3
    assert [stage["stage"] for stage in tree["stages"]][:2] == ["decode", "segment"]
    segment = tree["stages"][1]
    wanted = {"modelName", "modelVersion", "contractHash", "engine", "precision", "timeMs"}
    assert wanted <= set(segment)
    assert tree["image"] == {"width": 1360, "height": 1024}
    assert tree["requestId"] == "slide 7"


def test_the_stream_tells_each_stage_and_ends_with_the_result(wire: Wire) -> None:
    request = AnalyzeMetaphaseStreamRequest(analysis=AnalyzeMetaphaseRequest(encoded=spread_png()))
    messages = list(wire.karyotype.AnalyzeMetaphaseStream(request, timeout=WAIT_S))
    stages = [message.stage_finished for message in messages[:-1]]
    assert [stage.report.stage for stage in stages] == ["decode", "segment", "detect", "classify", "pair"]
    assert all(stage.notice == RESEARCH_USE_ONLY for stage in stages)
    by_name = {stage.report.stage: stage for stage in stages}
    assert by_name["segment"].region.width > 0
    assert not by_name["segment"].objects
    assert len(by_name["detect"].objects) == len(wire.bench.truth.masks)
    assert not by_name["detect"].chromosomes
    assert len(by_name["classify"].chromosomes) == len(wire.bench.truth.masks)
    assert messages[-1].WhichOneof("event") == "result"
    result = messages[-1].result
    stored = wire.results.GetResult(GetResultRequest(result_id=result.result_id), timeout=WAIT_S).result
    assert stored.spread == result.spread
    assert stored.stages == result.stages


def test_a_film_and_its_json(wire: Wire) -> None:
    request = AnalyzeChestXrayRequest(encoded=wire.bench.film_png, render=a.RenderOptions(overlay=True))
    reply = wire.chest_xray.AnalyzeChestXray(request, timeout=WAIT_S)
    assert reply.renderings.overlay_png.startswith(b"\x89PNG")
    tree = json.loads(to_json(reply))
    (finding,) = tree["film"]["findings"]
    assert finding["label"] == "Cardiomegaly"
    assert finding["confidence"] == pytest.approx(0.8, abs=0.01)
    assert finding["box"]["x"] == pytest.approx(300, abs=2)
    assert tree["notice"] == RESEARCH_USE_ONLY
    stored = wire.results.GetResult(GetResultRequest(result_id=reply.result_id), timeout=WAIT_S).result
    assert stored.film == reply.film


def test_raw_pixels_of_every_type(wire: Wire) -> None:
    grey = wire.bench.truth.grey
    for array, dtype in (
        (grey, BYTE),
        (grey.astype("<u2") * 257, a.PIXEL_TYPE_UINT16),
        (grey.astype("<f4") / 255, FLOAT),
    ):
        reply = wire.karyotype.AnalyzeMetaphase(raw(array.tobytes(), grey.shape, dtype), timeout=WAIT_S)
        assert reply.spread.count == len(wire.bench.truth.masks)


BLACK = np.zeros((300, 400), np.uint8)
NAN = np.full((64, 64), np.nan, "<f4")
NOISE = np.random.default_rng(5).integers(0, 255, (300, 400), np.uint8)
WRONG = {
    "nothing": (AnalyzeMetaphaseRequest(), "INVALID_ARGUMENT", "EMPTY_INPUT", "neither"),
    "empty": (AnalyzeMetaphaseRequest(encoded=b""), "INVALID_ARGUMENT", "EMPTY_INPUT", "0 bytes"),
    "text": (AnalyzeMetaphaseRequest(encoded=b"hello world"), "INVALID_ARGUMENT", "UNSUPPORTED_FORMAT", ""),
    "truncated": (
        AnalyzeMetaphaseRequest(encoded=encode_png(NOISE)[:5000]),
        "INVALID_ARGUMENT",
        "CORRUPT_IMAGE",
        "",
    ),
    "vast": (
        AnalyzeMetaphaseRequest(encoded=png_header(60_000, 60_000)),
        "OUT_OF_RANGE",
        "IMAGE_TOO_LARGE",
        "60000",
    ),
    "one pixel": (
        AnalyzeMetaphaseRequest(encoded=encode_png(BLACK[:1, :1])),
        "OUT_OF_RANGE",
        "IMAGE_TOO_SMALL",
        "1 × 1",
    ),
    "black": (raw(BLACK.tobytes(), BLACK.shape), "FAILED_PRECONDITION", "UNSUITABLE_IMAGE", ""),
    "white": (raw((BLACK + 255).tobytes(), BLACK.shape), "FAILED_PRECONDITION", "UNSUITABLE_IMAGE", ""),
    "chest": (AnalyzeMetaphaseRequest(encoded=chest_dicom()), "FAILED_PRECONDITION", "UNSUITABLE_IMAGE", ""),
    "NaN": (raw(NAN.tobytes(), NAN.shape, FLOAT), "INVALID_ARGUMENT", "NON_FINITE_PIXELS", "4096"),
    "wrong dtype": (raw(BLACK.tobytes(), BLACK.shape, FLOAT), "INVALID_ARGUMENT", "DTYPE_MISMATCH", "480000"),
    "no dtype": (
        raw(BLACK.tobytes(), BLACK.shape, a.PIXEL_TYPE_UNSPECIFIED),
        "INVALID_ARGUMENT",
        "DTYPE_MISMATCH",
        "",
    ),
    "no shape": (raw(BLACK.tobytes(), ()), "INVALID_ARGUMENT", "DTYPE_MISMATCH", ""),
    "no size": (
        AnalyzeMetaphaseRequest(encoded=b"x", pixel_size_um=0.0),
        "INVALID_ARGUMENT",
        "INVALID_INPUT",
        "pixel size",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_wrong_input_has_its_status_and_the_daemon_goes_on(wire: Wire, name: str) -> None:
    request, status, kind, words = WRONG[name]
    before = wire.bench.store.newest_cursor
    got = refusal(wire, request)
    assert got[:2] == (status, kind), got
    assert words in got[2]
    assert wire.bench.store.newest_cursor == before
    assert wire.results.ListResults(ListResultsRequest(page_size=1), timeout=WAIT_S)


def test_a_message_larger_than_the_limit(wire: Wire) -> None:
    status, _kind, _words = refusal(wire, AnalyzeMetaphaseRequest(encoded=b"\0" * (65 << 20)))
    assert status == "RESOURCE_EXHAUSTED"


def test_a_deadline_of_a_millisecond(wire: Wire) -> None:
    assert refusal(wire, AnalyzeMetaphaseRequest(encoded=spread_png()), 0.001)[0] == "DEADLINE_EXCEEDED"


def test_a_deadline_ends_a_wait_for_the_engine(wire: Wire) -> None:
    before = wire.bench.store.newest_cursor
    wire.bench.engines.gate.clear()
    assert refusal(wire, AnalyzeMetaphaseRequest(encoded=spread_png()), 1.0)[0] == "DEADLINE_EXCEEDED"
    assert wire.bench.store.newest_cursor == before


@pytest.mark.parametrize("streaming", [False, True])
def test_a_client_who_hangs_up_stops_the_work(wire: Wire, streaming: bool) -> None:
    before = wire.bench.store.newest_cursor
    wire.bench.engines.gate.clear()
    request = AnalyzeMetaphaseRequest(encoded=spread_png())
    if streaming:
        wanted = AnalyzeMetaphaseStreamRequest(analysis=request)
        call = wire.karyotype.AnalyzeMetaphaseStream(wanted, timeout=WAIT_S)
    else:
        call = wire.karyotype.AnalyzeMetaphase.future(request, timeout=WAIT_S)
    assert wire.bench.engines.begun.acquire(timeout=WAIT_S)
    call.cancel()
    assert wire.bench.engines.left.wait(WAIT_S)
    assert wire.bench.store.newest_cursor == before


def test_an_unknown_error_is_internal_and_says_only_an_incident(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wire.bench.engines.fault = ZeroDivisionError("patient Smith")
    status, kind, words = refusal(wire, AnalyzeMetaphaseRequest(encoded=spread_png()))
    assert status == "INTERNAL"
    assert not kind
    assert "Smith" not in words
    incident = words.rpartition(" ")[2]
    (record,) = [one for one in caplog.records if getattr(one, "incident", "") == incident]
    assert record.name == "appliance.rpc.edge"


def test_an_engine_that_fails_is_internal(wire: Wire) -> None:
    wire.bench.engines.fault = InferenceFailed("secret detail")
    status, _, words = refusal(wire, AnalyzeMetaphaseRequest(encoded=spread_png()))
    assert status == "INTERNAL"
    assert "secret" not in words


def test_a_full_queue_names_the_pause(wire: Wire) -> None:
    wire.bench.engines.fault = LimitExceeded("the queue is full", retry_after_s=1.5)
    with pytest.raises(grpc.RpcError) as caught:
        wire.chest_xray.AnalyzeChestXray(AnalyzeChestXrayRequest(encoded=wire.bench.film_png), timeout=WAIT_S)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"] == "1500"


def test_a_model_that_is_not_there_is_unavailable(wire: Wire) -> None:
    wire.bench.engines.fault = ModelUnavailable("expected a ready model and got none")
    status, kind, _ = refusal(wire, AnalyzeMetaphaseRequest(encoded=spread_png()))
    assert (status, kind) == ("UNAVAILABLE", "MODEL_UNAVAILABLE")


def test_an_error_in_the_middle_of_a_stream(wire: Wire) -> None:
    request = AnalyzeMetaphaseStreamRequest(analysis=raw(BLACK.tobytes(), BLACK.shape))
    stream = wire.karyotype.AnalyzeMetaphaseStream(request, timeout=WAIT_S)
    assert next(stream).stage_finished.report.stage == "decode"
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_malformed_files_neither_crash_nor_hang_nor_leak(wire: Wire, bad_input: Path) -> None:
    files = sorted(path for path in bad_input.rglob("*") if path.is_file() and path.stat().st_size < 32 << 20)
    assert files
    answered: dict[str, int] = {}
    sizes = []
    for number, path in enumerate(files):
        request = AnalyzeMetaphaseRequest(encoded=path.read_bytes())
        try:
            wire.karyotype.AnalyzeMetaphase(request, timeout=5.0)
            code = "OK"
        except grpc.RpcError as exc:
            code = exc.code().name
        answered[code] = answered.get(code, 0) + 1
        if number % 50 == 49:
            sizes.append(resident_bytes())
    allowed = {"OK", "INVALID_ARGUMENT", "OUT_OF_RANGE", "FAILED_PRECONDITION"}
    assert set(answered) <= allowed, answered
    if len(sizes) > 2:
        assert sizes[-1] - sizes[1] < 100 << 20, sizes


def test_a_karyogram_as_an_unknown_kind_of_file(wire: Wire) -> None:
    render = a.RenderOptions(karyogram_formats=[77])
    status, kind, words = refusal(wire, AnalyzeMetaphaseRequest(encoded=spread_png(), render=render))
    assert (status, kind) == ("INVALID_ARGUMENT", "INVALID_INPUT")
    assert "PNG, SVG or PDF and got format number 77" in words
