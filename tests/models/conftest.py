from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulators.packs import write_pack


@pytest.fixture
def pack_directory(tmp_path: Path) -> Path:
    return write_pack(tmp_path / "pack")
