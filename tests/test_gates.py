"""The static gates of `make check`, so that whoever runs the tests has run them too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def run(*command: str | Path) -> None:
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'build'}", "NO_COLOR": "1"}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"


def test_the_house_format() -> None:
    run(BIN / "ruff", "format", "--check", ".")


def test_lint() -> None:
    run(BIN / "ruff", "check", ".")


def test_types() -> None:
    run(BIN / "mypy")


def test_layers() -> None:
    run(BIN / "lint-imports")


def test_stubs_are_those_of_the_protos() -> None:
    run(sys.executable, "proto/generate.py", "--check")


def tracked(*patterns: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode != 0:
        pytest.skip(f"no git checkout: {listing.stderr.strip()}")
    return [REPOSITORY / name for name in listing.stdout.split("\0") if name]


def test_modules_stay_small() -> None:
    sources = [p for p in tracked("*.py") if "pb" not in p.parts]
    long = {
        str(p.relative_to(REPOSITORY)): n for p in sources if (n := len(p.read_text().splitlines())) > 400
    }
    assert sources
    assert not long, f"expected at most 400 lines a module and got {long}"


def test_no_junk_drawers() -> None:
    drawers = [p for p in tracked("*.py") if p.stem in {"utils", "util", "common", "helpers", "misc"}]
    assert not drawers


def test_lock_files_carry_hashes_and_no_addresses() -> None:
    locks = sorted((REPOSITORY / "requirements").glob("*.lock"))
    assert [p.name for p in locks] == ["backend.lock", "daemon.lock", "dev.lock"]
    for lock in locks:
        text = lock.read_text()
        assert not re.search(r"(https?|file|git)(\+\w+)?://|^--", text, re.MULTILINE), lock
        pins = re.findall(r"^[A-Za-z0-9][^\s]*==[^\s]+", text, re.MULTILINE)
        blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
        assert len(pins) == len(blocks)
        assert all("--hash=sha256:" in block for block in blocks), lock


def test_lock_files_know_every_dependency() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[<>=!~; \[]", r)[0].lower() for r in requirements}

    def locked(name: str) -> set[str]:
        return set(re.findall(r"^([A-Za-z0-9-]+)==", (REPOSITORY / "requirements" / name).read_text(), re.M))

    daemon = names(project["dependencies"] + extras["openvino"] + extras["dicom"])
    assert daemon <= locked("daemon.lock")
    assert daemon | names(extras["onnxruntime"] + extras["test"] + extras["dev"]) <= locked("dev.lock")
    assert not names(extras["build"]) & {"torch"} & locked("dev.lock"), "tests do without torch"
