"""tritonclient as it is, against a real daemon: blocking, callbacks, asyncio, streams, shared memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from appliance.client import LocalDaemon
from appliance.pb import model_config_pb2, open_inference_pb2
from tests.simulators.appliance import film_png, spread_png

SCRIPT = Path(__file__).with_name("stock_client.py")
CASES = re.findall(r"^def case_(\w+)\(", SCRIPT.read_text(), re.MULTILINE)
WAIT_S = 240.0


@pytest.fixture(scope="module")
def verdicts(daemon: LocalDaemon, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """All cases in one process of the client's own, with warnings as errors."""
    pytest.importorskip("tritonclient", reason="tritonclient is not installed (its wheels are for x86-64)")
    folder = tmp_path_factory.mktemp("images")
    (folder / "film.png").write_bytes(film_png())
    (folder / "spread.png").write_bytes(spread_png())
    interface = FileDescriptorSet()
    for module in (model_config_pb2, open_inference_pb2):
        module.DESCRIPTOR.CopyToProto(interface.file.add())
    (folder / "interface.pb").write_bytes(interface.SerializeToString())
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), daemon.address, str(folder)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told: dict[str, str | None] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.parametrize("case", CASES)
def test_a_stock_client(case: str, verdicts: dict[str, str | None]) -> None:
    assert verdicts[case] is None, verdicts[case]


def test_there_are_cases() -> None:
    assert len(CASES) >= 12
