"""Several threads may be the first to use OpenVINO: they must not wait for each other for ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openvino", reason="openvino is not installed")

REPOSITORY = Path(__file__).resolve().parents[2]
# Without the adapter's lock about half of such processes never end; a stuck one holds the GIL, so only
# another process can tell.
FIRST_USE_BY_FOUR = """
import sys, threading
from engines.openvino_engine import _import_openvino
import openvino
sys.setswitchinterval(1e-6)
together = threading.Barrier(4)
def use():
    together.wait()
    _import_openvino().Type.f32.to_dtype()
threads = [threading.Thread(target=use) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("all four went on")
"""


@pytest.mark.parametrize("attempt", range(3))
def test_first_use_from_four_threads_ends(attempt: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_USE_BY_FOUR],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "all four went on" in done.stdout, f"attempt {attempt}: {done.stderr}"
