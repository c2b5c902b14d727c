"""Films at the door of the daemon: an answer or a clear refusal for each, in time and in bounded memory."""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pydicom", reason='the extra "dicom" is not installed')

from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from appliance.imaging.dicom_meta import read_meta
from appliance.pb import analysis_pb2 as a
from appliance.pb.chest_xray_pb2 import AnalyzeChestXrayRequest, AnalyzeChestXrayResponse
from appliance.phantoms.demo import demo_chest_film
from tests.imaging.dicom_writer import write_film
from tests.rpc.conftest import Wire

LIMIT_S = 5.0
MAX_WORKER_BYTES = 700 << 20
REFUSALS = {"INVALID_ARGUMENT", "OUT_OF_RANGE", "FAILED_PRECONDITION"}


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    return demo_chest_film().image


def send(wire: Wire, film: bytes) -> AnalyzeChestXrayResponse:
    return wire.chest_xray.AnalyzeChestXray(AnalyzeChestXrayRequest(encoded=film), timeout=LIMIT_S)


def refusal(wire: Wire, film: bytes) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        send(wire, film)
    return caught.value.code().name, caught.value.details()


def peak_bytes(wire: Wire) -> int:
    """The most memory that any decoder process has held."""
    peaks = []
    for pid in wire.bench.decoder.worker_pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peaks.append(int(line.split()[1]) * 1024)
    return max(peaks, default=0)


def test_the_collection_of_bad_dicom(wire: Wire, bad_input: Path) -> None:
    answered: Counter[str] = Counter()
    slowest_s = 0.0
    for path in sorted((bad_input / "dicom").iterdir()):
        began_s = time.monotonic()
        status, words = refusal(wire, path.read_bytes())  # none of them is a film of a chest
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        assert status in REFUSALS, (path.name, words)
        assert "expected" in words, path.name
        assert peak_bytes(wire) < MAX_WORKER_BYTES, path.name
        answered[status] += 1
    assert slowest_s < LIMIT_S
    assert answered.total() > 250


@pytest.mark.parametrize("name", ["RG3_RLE", "RG3_J2KI", "RG3_JPLY"])
def test_a_film_of_an_extremity_is_refused_with_the_reason(wire: Wire, data_dir: Path, name: str) -> None:
    status, words = refusal(wire, (data_dir / "dicom" / f"{name}.dcm").read_bytes())
    assert status == "FAILED_PRECONDITION"
    assert words.endswith("got one whose header says that it shows EXTREMITY")


@pytest.mark.parametrize("name", ["RG1_J2KI", "RG1_JLSN", "gdcm-CR-MONO1-10-chest"])
def test_real_chest_films_are_answered(wire: Wire, data_dir: Path, name: str) -> None:
    reply = send(wire, (data_dir / "dicom" / f"{name}.dcm").read_bytes())
    assert reply.film.view == a.VIEW_PA
    assert a.QUALITY_FLAG_VIEW_NOT_STATED not in reply.film.quality_flags
    assert a.QUALITY_FLAG_LOOKS_INVERTED not in reply.film.quality_flags


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"BodyPartExamined": "HAND"}, "shows HAND"),
        ({"ViewPosition": "LL"}, "a lateral view"),
        ({"ViewPosition": "LLD"}, "another view"),
        ({"PatientOrientation": ["P", "F"]}, "a lateral view"),
        ({"Modality": "CT"}, "says CT"),
        ({"Modality": "MG"}, "says MG"),
    ],
)
def test_other_films_are_refused_before_an_engine_sees_them(
    wire: Wire, pixels: NDArray[np.uint8], fields: dict[str, Any], words: str
) -> None:
    status, said = refusal(wire, write_film(pixels, **fields))
    assert status == "FAILED_PRECONDITION"
    assert words in said
    assert not wire.bench.engines.begun.acquire(blocking=False)


def test_a_silent_header_is_accepted_and_flagged(wire: Wire, pixels: NDArray[np.uint8]) -> None:
    reply = send(wire, write_film(pixels, BodyPartExamined=None))
    assert a.QUALITY_FLAG_VIEW_NOT_STATED in reply.film.quality_flags
    assert a.QUALITY_FLAG_BODY_PART_NOT_STATED in reply.film.quality_flags
    assert reply.film.view == a.VIEW_UNSPECIFIED


def test_a_mirrored_film_has_its_boxes_where_it_was_sent(wire: Wire, pixels: NDArray[np.uint8]) -> None:
    straight = send(wire, write_film(pixels, ViewPosition="PA", PatientOrientation=["L", "F"]))
    mirrored = send(
        wire, write_film(pixels[:, ::-1].copy(), ViewPosition="PA", PatientOrientation=["R", "F"])
    )
    assert a.QUALITY_FLAG_TURNED_UPRIGHT in mirrored.film.quality_flags
    ours, theirs = straight.film.findings[0].box, mirrored.film.findings[0].box
    assert theirs.x == pytest.approx(pixels.shape[1] - ours.x - ours.width, abs=0.01)
    assert (theirs.y, theirs.width) == pytest.approx((ours.y, ours.width), abs=0.01)


def _deflated(pixels: NDArray[np.uint8]) -> bytes:
    film = write_film(pixels, uid.DeflatedExplicitVRLittleEndian)
    head = film[: read_meta(film).data_set_start]
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return head + squeeze.compress(bytes(600 << 20)) + squeeze.flush()


def _jpeg_of_another_size(pixels: NDArray[np.uint8]) -> bytes:
    frame = b"\xff\xd8\xff\xc0"
    frame += struct.pack(">HBHHB3B", 11, 8, 60_000, 60_000, 1, 1, 0x11, 0) + b"\xff\xd9"
    return write_film(pixels, uid.JPEGBaseline8Bit, PixelData=encapsulate([frame]))


def _jpeg_2000_of_another_size(pixels: NDArray[np.uint8]) -> bytes:
    frame = bytes.fromhex("ff4fff51002f0000") + struct.pack(">4I", 60_000, 60_000, 0, 0) + bytes(40)
    return write_film(pixels, uid.JPEG2000Lossless, PixelData=encapsulate([frame]))


def _run_lengths_without_end(pixels: NDArray[np.uint8]) -> bytes:
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + bytes((0x81, 0)) * (8 << 20)
    return write_film(pixels, uid.RLELossless, PixelData=encapsulate([frame]))


def _tiny_pixels_huge_size(pixels: NDArray[np.uint8]) -> bytes:
    return write_film(pixels, Rows=16_000, Columns=16_000)


def _nested(pixels: NDArray[np.uint8]) -> bytes:
    """Sequences inside sequences, written by hand: no writer goes so deep."""
    film = write_film(pixels)
    depth = 20_000
    opened = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    opened += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    closed = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    at = film.index(struct.pack("<HH2s", 0x0010, 0x0010, b"PN"))
    return film[:at] + opened * depth + closed * depth + film[at:]


def _many_items(pixels: NDArray[np.uint8]) -> bytes:
    film = dcmread(io.BytesIO(write_film(pixels)))
    item = Dataset()
    item.CodeValue = "1"
    film.ViewCodeSequence = [item] * 20_000
    buffer = io.BytesIO()
    film.save_as(buffer)
    return buffer.getvalue()


BOMBS: dict[str, Callable[[NDArray[np.uint8]], bytes]] = {
    "a data set that inflates to 600 MiB": _deflated,
    "a JPEG frame of 60,000 x 60,000": _jpeg_of_another_size,
    "a JPEG 2000 frame of 60,000 x 60,000": _jpeg_2000_of_another_size,
    "run lengths of a gigabyte": _run_lengths_without_end,
    "a header of 16,000 x 16,000 over few pixels": _tiny_pixels_huge_size,
    "20,000 nested sequences": _nested,
    "20,000 view codes": _many_items,
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_cost_neither_time_nor_memory(wire: Wire, pixels: NDArray[np.uint8], kind: str) -> None:
    film = BOMBS[kind](pixels)
    assert len(film) < 32 << 20
    began_s = time.monotonic()
    status, words = refusal(wire, film)
    assert time.monotonic() - began_s < LIMIT_S
    assert status in REFUSALS
    assert "expected" in words
    assert peak_bytes(wire) < MAX_WORKER_BYTES
    assert send(wire, write_film(pixels, ViewPosition="PA")).film.findings  # and the next film is answered
