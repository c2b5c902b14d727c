"""Environments of the peers: pinned packages beside ours, never among them, and only for the benchmark."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
FOLDER = REPOSITORY / ".venv-peers"
INSTALL_LIMIT_S = 1800.0
SAID_CHARACTERS = 300


class NotInstalled(Exception):
    """An environment could not be made; says why."""


def environment(name: str) -> Path:
    """The Python of the environment that NAME.txt beside this module pins; made where it is not there.

    Raises:
        NotInstalled: the packages cannot be had here.
    """
    wanted = Path(__file__).with_name(f"{name}.txt")
    home = FOLDER / name
    python, stamp = home / "bin" / "python", home / "installed"
    fingerprint = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == fingerprint:
        return python
    shutil.rmtree(home, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(home)])
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted)])
    stamp.write_text(fingerprint)
    return python


def site_packages(python: Path) -> Path:
    """Where the packages of an environment lie."""
    return next((python.parents[1] / "lib").glob("python3.*/site-packages"))


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise NotInstalled(f"{type(exc).__name__} while installing") from exc
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise NotInstalled(" ".join(errors)[:SAID_CHARACTERS] or f"pip ended with {done.returncode}")
