"""`appliance dicom serve` as a process of its own, beside a daemon of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli import main
from appliance.client import LocalDaemon
from tests.simulators.appliance import chest_dicom
from tests.simulators.archive import Archive
from tests.simulators.scanner import CALLING, send

WAIT_S = 60.0


@pytest.fixture
def archive() -> Iterator[Archive]:
    archive = Archive().open()
    yield archive
    archive.close()


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "appliance", "dicom", "serve", *words]


def test_a_film_in_and_a_report_out(daemon: LocalDaemon, archive: Archive, tmp_path: Path) -> None:
    words = ["--state-dir", str(tmp_path), "--server", daemon.address, "--listen", "127.0.0.1:0"]
    words += ["--calling", CALLING, "--destination", str(archive.entity)]
    with subprocess.Popen(command(*words), stderr=subprocess.PIPE, text=True) as node:
        assert node.stderr is not None
        ready = re.search(r"READY as ANALYZER on port (\d+)", node.stderr.readline())
        assert ready
        assert send(int(ready[1]), chest_dicom()).Status == 0x0000
        assert archive.next_report().Modality == "SR"
        second = subprocess.run(
            command(*words), stderr=subprocess.PIPE, text=True, timeout=WAIT_S, check=False
        )
        assert second.returncode == 1
        assert "another DICOM node is running" in second.stderr
        node.send_signal(signal.SIGTERM)
        log = node.stderr.read()
        assert node.wait(WAIT_S) == 0
    assert "C-STORE from SCANNER at 127.0.0.1: 0x0000" in log
    assert "report delivered" in log
    assert "SECRET" not in log


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "dicom.calling_ae_titles"),
        (("--calling", "A"), "dicom.destination"),
        (("--calling", "A" * 17, "--destination", "B@c:1"), "1 to 16 ASCII characters"),
        (("--calling", "A", "--destination", "B"), "AE_TITLE@HOST:PORT"),
        (("--listen", "nowhere"), "HOST:PORT"),
    ],
)
def test_settings_that_are_wrong(words: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["dicom", "serve", "--state-dir", str(tmp_path), *words])
    assert result.exit_code == 1
    assert reason in result.output
