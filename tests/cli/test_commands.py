"""status, self-test, results, version: what a technician reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance import __version__
from appliance.cli import main
from appliance.client import LocalDaemon
from tests.simulators.appliance import film_png


def run(*words: str) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": "160"}).invoke(main, list(words))
    return result.exit_code, " ".join(result.output.split())


def test_status_of_a_box_that_is_well(daemon: LocalDaemon) -> None:
    code, words = run("status", "--server", daemon.address)
    assert code == 0
    assert "All is well." in words
    assert words.count("ready") == 4
    assert "openvino: usable" in words or "onnxruntime: usable" in words


def test_status_without_a_daemon(tmp_path: Path) -> None:
    code, words = run("status", "--server", f"unix:{tmp_path}/none")
    assert code == 1
    assert "appliance serve" in words


def test_the_self_test_passes(daemon: LocalDaemon) -> None:
    code, words = run("self-test", "--server", daemon.address)
    assert code == 0
    assert words.count("passed") == 5


def test_results_are_listed_and_fetched(daemon: LocalDaemon, tmp_path: Path) -> None:
    (tmp_path / "film.png").write_bytes(film_png())
    film = str(tmp_path / "film.png")
    code, words = run(
        "analyze", film, "--output", str(tmp_path), "--modality", "chest-xray", "--server", daemon.address
    )
    assert code == 0, words
    written = json.loads((tmp_path / "film.json").read_text())
    code, words = run(
        "results", "list", "--modality", "chest-xray", "--limit", "1", "--server", daemon.address
    )
    assert code == 0
    assert written["resultId"] in words
    code, words = run("results", "get", written["resultId"], "--server", daemon.address)
    assert code == 0
    assert json.loads(words)["film"] == written["film"]
    target = tmp_path / "again.json"
    code, _ = run("results", "get", written["resultId"], "--output", str(target), "--server", daemon.address)
    assert code == 0
    assert json.loads(target.read_text())["stages"] == written["stages"]


def test_a_result_that_is_not_there(daemon: LocalDaemon) -> None:
    code, words = run("results", "get", "nothing", "--server", daemon.address)
    assert code == 1
    assert "expected the id of a kept result" in words


@pytest.mark.parametrize("words", [("version",), ("--version",)])
def test_the_version(words: tuple[str, ...]) -> None:
    assert __version__ in run(*words)[1]
