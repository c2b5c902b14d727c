"""Debian's dcmtk on both sides of the node: echoscu and storescu call it, storescp is the archive."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from appliance.client import ApplianceClient
from appliance.dicom_node.node import DicomNode
from tests.dicom_node.conftest import settings
from tests.dicom_node.test_node import small_film
from tests.imaging.dicom_writer import write_film
from tests.simulators.appliance import chest_dicom
from tests.simulators.archive import Archive
from tests.simulators.dicom_tools import run_tool, tool

WAIT_S = 30.0


@contextmanager
def storescp(folder: Path, port: int) -> Iterator[threading.Event]:
    """An archive that writes what it takes; the event is set with the first file."""
    command = [tool("storescp"), "-v", "-od", str(folder), "-aet", "ARCHIVE", str(port)]
    stored = threading.Event()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                if "Association Release" in line:
                    stored.set()

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield stored
        finally:
            process.terminate()
            reader.join(WAIT_S)


def storescu(port: int, film: Path, *words: str) -> tuple[int, str]:
    call = ("-aet", "SCANNER", "-aec", "ANALYZER", "127.0.0.1", str(port), film)
    return run_tool("storescu", "-v", *words, *call)


def test_a_film_sent_by_storescu_comes_back_to_storescp_as_a_report(
    tmp_path: Path, archive: Archive, daemon: ApplianceClient
) -> None:
    film = tmp_path / "film.dcm"
    film.write_bytes(chest_dicom())
    received = tmp_path / "archive"
    received.mkdir()
    config = settings(tmp_path, archive)
    with storescp(received, archive.entity.address.port) as stored, DicomNode(config, daemon) as node:
        status, said = storescu(node.port, film)
        assert status == 0, said
        assert stored.wait(WAIT_S)
    (file,) = received.iterdir()
    report = dcmread(file)
    assert report.StudyInstanceUID == dcmread(film).StudyInstanceUID
    status, said = run_tool("dsrdump", "-Ee", file)
    assert status == 0, said
    assert re.search(r'NUM:.*"Certainty of Finding".*=".*" \(%', said)
    assert "Cardiomegaly" in said
    assert "not for diagnosis" in said


def test_echoscu(node: DicomNode) -> None:
    words = ("-v", "127.0.0.1", str(node.port))
    assert run_tool("echoscu", "-aet", "SCANNER", "-aec", "ANALYZER", *words)[0] == 0
    status, said = run_tool("echoscu", "-aet", "STRANGER", "-aec", "ANALYZER", *words)
    assert status != 0
    assert "Calling AE Title Not Recognized" in said
    status, said = run_tool("echoscu", "-aet", "SCANNER", "-aec", "OTHER", *words)
    assert "Called AE Title Not Recognized" in said


def test_storescu_hears_why_a_hand_is_refused(node: DicomNode, tmp_path: Path) -> None:
    film = tmp_path / "hand.dcm"
    film.write_bytes(small_film(BodyPartExamined="HAND"))
    _status, said = storescu(node.port, film, "-d")
    assert "0xa900" in said.lower()
    assert "HAND" in said


@pytest.mark.parametrize("option", ["-xi", "-xb", "-xe"])
def test_uncompressed_in_every_order(node: DicomNode, archive: Archive, tmp_path: Path, option: str) -> None:
    film = tmp_path / "film.dcm"
    pixels = np.linspace(0, 4095, 200 * 160).astype(np.uint16).reshape(200, 160)
    film.write_bytes(
        write_film(pixels, StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.4", PatientID=option)
    )
    status, said = storescu(node.port, film, option)
    assert status == 0, said
    assert archive.next_report().PatientID == option
