"""The example does what its first lines promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import microscope_client
from tests.simulators.appliance import Bench, spread_png


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    folder = tmp_path / "slides"
    folder.mkdir()
    (folder / "cell-1.png").write_bytes(spread_png())
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_folder_becomes_a_case(slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Bench(tmp_path) as bench:
        words = [str(slides), "--server", bench.serve(), "--output", str(tmp_path / "out")]
        assert microscope_client.main(words) == 0
        (case,) = bench.cases.page(9)
    said = capsys.readouterr().out
    assert "[########################] 1/1 cell-1.png: 46 chromosomes, 46,XY" in said
    assert "needed: 19 more cells counted (1 of 20)" in said
    assert "research use only" in said
    assert (case.spreads, case.closed_ms is not None) == (1, True)
    assert (tmp_path / "out" / "cell-1.karyogram.png").read_bytes().startswith(b"\x89PNG")


def test_an_image_that_fails_does_not_stop_the_others(
    slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (slides / "cell-0.png").write_bytes(b"nonsense")
    with Bench(tmp_path) as bench:
        assert microscope_client.main([str(slides), "--server", bench.serve()]) == 1
        assert bench.cases.page(9)[0].spreads == 1
    assert "cell-0.png: not added: expected" in capsys.readouterr().out


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert microscope_client.main([str(tmp_path)]) == 1
    assert "no image" in capsys.readouterr().err


def test_no_appliance(slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert microscope_client.main([str(slides), "--server", f"unix:{tmp_path}/none"]) == 1
    assert "no daemon answers" in capsys.readouterr().err
