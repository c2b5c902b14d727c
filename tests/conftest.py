"""What every test may ask for: the directory with real data, and pieces of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real spreads, films and malformed files, which are no part of this repository."""
    named = os.environ.get("APPLIANCE_TEST_DATA")
    path = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"no real data: {path} is no directory (APPLIANCE_TEST_DATA names another)")
    return path


@pytest.fixture(scope="session")
def metaphases(data_dir: Path) -> Path:
    path = data_dir / "metaphases"
    if not (path / "test.json").is_file():
        pytest.skip(f"no real metaphases: {path}/test.json is absent")
    return path


@pytest.fixture(scope="session")
def metaphase_tests(metaphases: Path) -> dict[str, Any]:
    """The COCO document of the held-out spreads."""
    document: dict[str, Any] = json.loads((metaphases / "test.json").read_text())
    return document


@pytest.fixture(scope="session")
def chest_xrays(data_dir: Path) -> Path:
    path = data_dir / "chest_xrays"
    if not path.is_dir():
        pytest.skip(f"no real chest X-rays: {path} is no directory")
    return path


@pytest.fixture(scope="session")
def bad_input(data_dir: Path) -> Path:
    path = data_dir / "bad_input"
    if not path.is_dir():
        pytest.skip(f"no malformed files: {path} is no directory")
    return path
