"""`appliance demo` as a stranger runs it, on the factory packs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import RESEARCH_USE_ONLY
from appliance.app import FACTORY
from appliance.models.factory import pack_directories
from appliance.models.manifest import Role

WAIT_S = 280.0


@pytest.mark.slow
def test_the_demo_leaves_pictures_and_results(tmp_path: Path) -> None:
    if len(pack_directories(FACTORY)) < len(Role):
        pytest.skip(f"expected {len(Role)} factory packs and got {len(pack_directories(FACTORY))}")
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "demo", "--output", str(tmp_path / "demo")],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {
        "metaphase.png",
        "metaphase.json",
        "metaphase.overlay.png",
        "metaphase.karyogram.png",
        "chest-xray.png",
        "chest-xray.json",
        "chest-xray.overlay.png",
    }
    spread = json.loads((tmp_path / "demo" / "metaphase.json").read_text())
    assert 40 <= spread["spread"]["count"] <= 52
    film = json.loads((tmp_path / "demo" / "chest-xray.json").read_text())
    assert "findings" in film["film"]
    for reply in (spread, film):
        assert reply["notice"] == RESEARCH_USE_ONLY
        models = [stage for stage in reply["stages"] if stage["calls"]]
        assert models
        assert all(stage["modelVersion"] and stage["engine"] and stage["precision"] for stage in models)
    for word in ("segment", "detect", "classify", "appliance serve", "appliance analyze", RESEARCH_USE_ONLY):
        assert word in done.stdout
