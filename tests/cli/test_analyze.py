from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydicom import dcmread

from appliance.cli import main
from appliance.client import LocalDaemon
from tests.simulators.appliance import chest_dicom, film_png, spread_png
from tests.simulators.contract_packs import FINDING


def analyze(daemon: LocalDaemon, *words: str | Path) -> tuple[int, str]:
    wide = {"COLUMNS": "240"}
    result = CliRunner(env=wide).invoke(main, ["analyze", *map(str, words), "--server", daemon.address])
    return result.exit_code, " ".join(result.output.split())


def test_a_spread_leaves_three_files(daemon: LocalDaemon, tmp_path: Path) -> None:
    (tmp_path / "cell.png").write_bytes(spread_png())
    output = tmp_path / "out"
    code, words = analyze(
        daemon,
        tmp_path / "cell.png",
        "--output",
        output,
        "--modality",
        "metaphase",
        "--pixel-size-um",
        "0.07",
    )
    assert code == 0, words
    assert "1 of 1 analysed" in words
    assert sorted(path.name for path in output.iterdir()) == [
        "cell.json",
        "cell.karyogram.png",
        "cell.overlay.png",
    ]
    tree = json.loads((output / "cell.json").read_text())
    assert tree["spread"]["count"] == len(tree["spread"]["chromosomes"]) > 8
    assert tree["spread"]["pixelSizeUm"] == 0.07
    assert tree["requestId"] == "cell"
    assert "renderings" not in tree


def test_folders_kinds_and_bad_files(daemon: LocalDaemon, tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    (source / "deep").mkdir(parents=True)
    (source / "film.dcm").write_bytes(chest_dicom())
    (source / "deep" / "IM0001").write_bytes(chest_dicom())
    (source / "broken.png").write_bytes(film_png()[:3000])
    (source / "notes.txt").write_text("no image")
    (source / ".hidden.png").write_bytes(film_png())
    code, words = analyze(daemon, source, "--output", output)
    assert code == 1
    assert "2 of 3 analysed" in words
    assert "broken.png" in words
    assert "--modality" in words
    assert sorted(path.name for path in output.iterdir()) == [
        "IM0001.json",
        "IM0001.overlay.png",
        "film.json",
        "film.overlay.png",
    ]
    tree = json.loads((output / "film.json").read_text())
    assert [finding["label"] for finding in tree["film"]["findings"]] == [FINDING]
    flags = ["QUALITY_FLAG_DEMONSTRATION_MODEL", "QUALITY_FLAG_VIEW_NOT_STATED"]
    assert tree["film"]["qualityFlags"] == flags

    code, words = analyze(daemon, source, "--output", output, "--modality", "chest-xray")
    assert code == 1
    assert "2 of 3 analysed" in words
    assert "PNG" in words


def test_two_files_of_one_name_leave_two_results(daemon: LocalDaemon, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "film.png").write_bytes(film_png())
    output = tmp_path / "out"
    words = (tmp_path / "a", tmp_path / "b", "--output", output, "--modality", "chest-xray")
    assert analyze(daemon, *words)[0] == 0
    assert sorted(path.name for path in output.glob("*.json")) == ["a-film.png.json", "b-film.png.json"]


def test_an_empty_folder(daemon: LocalDaemon, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    code, words = analyze(daemon, tmp_path / "in", "--output", tmp_path / "out")
    assert code == 1
    assert "There is no image file in" in words


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "film.png").write_bytes(film_png())
    words = [
        "analyze",
        str(tmp_path / "film.png"),
        "--output",
        str(tmp_path),
        "--server",
        f"unix:{tmp_path}/none",
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "No daemon answers at unix:" in result.output


@pytest.mark.parametrize("words", [[], ["x.png"], ["--output", "out"]])
def test_words_that_are_missing(words: list[str]) -> None:
    assert CliRunner().invoke(main, ["analyze", *words]).exit_code == 2


def test_dicom_films_leave_a_structured_report(daemon: LocalDaemon, tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "film.dcm").write_bytes(chest_dicom())
    (source / "other.png").write_bytes(film_png())
    words = (source, "--output", output, "--modality", "chest-xray", "--dicom-sr", "--dicom-sc")
    code, said = analyze(daemon, *words)
    assert code == 0, said
    assert "other.png is no DICOM film: no other.sr.dcm for it" in said
    assert "no other.sc.dcm for it" in said
    assert sorted(path.name for path in output.glob("*.dcm")) == ["film.sc.dcm", "film.sr.dcm"]
    assert dcmread(output / "film.sc.dcm").Modality == "OT"
    report = dcmread(output / "film.sr.dcm")
    assert report.Modality == "SR"
    assert report.StudyInstanceUID == dcmread(source / "film.dcm").StudyInstanceUID
