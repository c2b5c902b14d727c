"""The whole way: a film sent to the node comes out of it as a report in the archive."""

from __future__ import annotations

import socket
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, JPEG2000Lossless, SecondaryCaptureImageStorage

from appliance.client import ApplianceClient
from appliance.dicom_node.limits import MAX_PDU_BYTES
from appliance.dicom_node.node import DicomNode
from appliance.dicom_node.spool import Kind
from appliance.errors import ConfigurationError, InferenceFailed, ModelUnavailable, Unavailable
from tests.dicom_node.conftest import settings
from tests.imaging.dicom_writer import PATIENT, write_film
from tests.simulators.appliance import Bench, chest_dicom
from tests.simulators.archive import Archive, free_port
from tests.simulators.scanner import associate, send

WAIT_S = 20.0


def small_film(**fields: object) -> bytes:
    pixels = np.tile(np.arange(128, dtype=np.uint8) * 2, (96, 1))
    uids = {"StudyInstanceUID": "1.2.840.99999.3.1", "SeriesInstanceUID": "1.2.840.99999.3.2"}
    return write_film(pixels, **(uids | fields))


def test_a_film_becomes_a_report_in_the_archive(node: DicomNode, archive: Archive) -> None:
    status = send(node.port, chest_dicom())
    assert status.Status == 0x0000
    report = archive.next_report()
    film = dcmread(BytesIO(chest_dicom()))
    assert report.PatientName == PATIENT
    assert report.StudyInstanceUID == film.StudyInstanceUID
    assert report.SeriesDescription.startswith("Research use only")


def test_nothing_stays_on_disk_once_the_report_is_delivered(
    node: DicomNode, archive: Archive, tmp_path: Path
) -> None:
    send(node.port, chest_dicom())
    archive.next_report()
    node.__exit__(None, None, None)
    assert [path for path in (tmp_path / "dicom").rglob("*") if path.is_file()] == []


def test_echo(node: DicomNode) -> None:
    association = associate(node.port)
    assert association.send_c_echo().Status == 0x0000
    association.release()


@pytest.mark.parametrize(("calling", "called"), [("STRANGER", "ANALYZER"), ("SCANNER", "OTHER")])
def test_strangers_are_rejected(node: DicomNode, calling: str, called: str) -> None:
    assert associate(node.port, calling, called).is_rejected


def test_other_classes_find_no_presentation_context(node: DicomNode) -> None:
    film = dcmread(BytesIO(small_film(SOPClassUID=CTImageStorage)))
    association = associate(node.port, film=film)
    assert [cx.abstract_syntax for cx in association.rejected_contexts] == [CTImageStorage]
    association.release()


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"BodyPartExamined": "HAND"}, 0xA900, "HAND"),
        ({"ViewPosition": "LL"}, 0xA900, "lateral"),
        ({"Rows": 5000}, 0xC000, "expected"),
        ({"StudyInstanceUID": None}, 0xC000, "got none"),
        ({"NumberOfFrames": 3}, 0xC000, "frame"),
        ({"SOPClassUID": SecondaryCaptureImageStorage, "Modality": "US"}, 0xA900, "US"),
    ],
)
def test_what_is_no_film_is_refused_with_the_reason(
    node: DicomNode, archive: Archive, fields: dict[str, object], code: int, words: str
) -> None:
    status = send(node.port, small_film(**fields))
    assert status.Status == code
    assert words in status.ErrorComment
    assert len(status.ErrorComment) <= 64
    assert node.spool.waiting(Kind.FILM) == node.spool.waiting(Kind.REPORT) == []
    assert archive.reports.empty()


def test_an_engine_that_fails_is_a_failure_for_the_sender(node: DicomNode, bench: Bench) -> None:
    bench.engines.fault = InferenceFailed("rubbish")
    try:
        status = send(node.port, small_film())
    finally:
        bench.engines.fault = None
    assert status.Status == 0x0110
    assert "rubbish" not in status.ErrorComment


def test_while_the_daemon_is_away_films_wait_and_survive_a_restart(
    tmp_path: Path, archive: Archive, daemon: ApplianceClient, bench: Bench
) -> None:
    archive.open()
    config = settings(tmp_path, archive, first_retry_s=600.0, longest_retry_s=600.0)
    bench.engines.fault = ModelUnavailable("still compiling")
    try:
        with DicomNode(config, daemon) as node:
            assert send(node.port, small_film(PatientID="WAITED")).Status == 0x0000
            (name,) = node.spool.waiting(Kind.FILM)
    finally:
        bench.engines.fault = None
    path = tmp_path / "dicom" / "films" / f"{name}.dcm"
    assert path.stat().st_mode & 0o777 == 0o600
    with DicomNode(config, daemon) as node:
        assert archive.next_report().PatientID == "WAITED"
    assert node.spool.waiting(Kind.FILM) == node.spool.waiting(Kind.REPORT) == []


def test_while_the_archive_is_away_reports_wait_and_survive_a_restart(
    tmp_path: Path, archive: Archive, daemon: ApplianceClient
) -> None:
    config = settings(tmp_path, archive)
    with DicomNode(config, daemon) as node:
        for number in range(3):
            assert send(node.port, small_film(PatientID=f"P{number}")).Status == 0x0000
        assert len(node.spool.waiting(Kind.REPORT)) == 3
        assert node.spool.waiting(Kind.FILM) == []
    archive.open()
    with DicomNode(config, daemon):
        assert [archive.next_report().PatientID for _ in range(3)] == ["P0", "P1", "P2"]


def test_a_report_that_is_refused_is_offered_again(
    tmp_path: Path, archive: Archive, daemon: ApplianceClient
) -> None:
    archive.status = 0xA700
    archive.open()
    with DicomNode(settings(tmp_path, archive), daemon) as node:
        assert send(node.port, small_film()).Status == 0x0000
        assert [archive.offered.get(timeout=WAIT_S) for _ in range(2)] == [0xA700, 0xA700]
        archive.status = 0x0000
        assert archive.next_report().Modality == "SR"


def test_a_full_queue_is_told_to_the_sender(
    tmp_path: Path, archive: Archive, daemon: ApplianceClient
) -> None:
    with DicomNode(settings(tmp_path, archive, max_waiting=1), daemon) as node:
        assert send(node.port, small_film()).Status == 0x0000
        status = send(node.port, small_film())
        assert status.Status == 0xA700
        assert "queue" in status.ErrorComment


def test_compressed_films(node: DicomNode, archive: Archive) -> None:
    film = dcmread(BytesIO(small_film()))
    film.compress(JPEG2000Lossless, generate_instance_uid=False)
    file = BytesIO()
    film.save_as(file)
    assert send(node.port, file.getvalue()).Status == 0x0000
    assert archive.next_report().Modality == "SR"


@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">BBL", 1, 0, 0xFFFFFFFF) + bytes(5000),
        struct.pack(">BBL", 1, 0, MAX_PDU_BYTES + 1) + bytes(5000),
        struct.pack(">BBL", 4, 0, 100) + bytes(100),
        b"\x01\x00",
        b"",
    ],
    ids=["http", "4 GiB", "too long", "data first", "half a header", "nothing"],
)
def test_rubbish_on_the_port_is_hung_up_on(node: DicomNode, rubbish: bytes) -> None:
    with socket.create_connection(("127.0.0.1", node.port), timeout=WAIT_S) as one:
        one.sendall(rubbish)
        one.shutdown(socket.SHUT_WR)
        while one.recv(4096):
            pass
    test_echo(node)


def test_a_message_beyond_the_limit_is_cut_off(
    tmp_path: Path, archive: Archive, daemon: ApplianceClient
) -> None:
    config = settings(tmp_path, archive)
    config = config.model_copy(update={"images": config.images.model_copy(update={"max_mib": 1})})
    big = write_film(np.zeros((2048, 2048), np.uint8), StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.4")
    with DicomNode(config, daemon) as node:
        film = dcmread(BytesIO(big))
        association = associate(node.port, film=film)
        status = association.send_c_store(film)
        assert "Status" not in status
        test_echo(node)


def test_a_port_that_is_taken(tmp_path: Path, archive: Archive, daemon: ApplianceClient) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", free_port()))
        one.listen()
        config = settings(tmp_path, archive, listen=f"127.0.0.1:{one.getsockname()[1]}")
        with pytest.raises(Unavailable, match="cannot listen"), DicomNode(config, daemon):
            pass


@pytest.mark.parametrize("key", ["calling_ae_titles", "destination"])
def test_a_node_that_nobody_may_call_or_that_knows_no_destination(
    tmp_path: Path, archive: Archive, daemon: ApplianceClient, key: str
) -> None:
    with pytest.raises(ConfigurationError, match=key):
        DicomNode(settings(tmp_path, archive, **{key: None}), daemon)
