"""Programs of others that read, check and send DICOM: Debian's dcmtk and dicom3tools."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGES = {"dciodvfy": "dicom3tools", "openssl": "openssl"}


def tool(name: str) -> str:
    """The program's path; skips the test where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian package {PACKAGES.get(name, 'dcmtk')})")
    return found


def run_tool(name: str, *words: str | Path, timeout_s: float = 60) -> tuple[int, str]:
    """Exit status, and all that it said."""
    done = subprocess.run(
        [tool(name), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout_s,
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace")
