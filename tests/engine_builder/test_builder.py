from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance import RESEARCH_USE_ONLY
from appliance.models.manifest import Precision
from engine_builder.builder import STEPS, Builder
from engine_builder.cli import cli
from engine_builder.errors import BuildFailed
from engine_builder.recipe import Recipe, Workspace, read_recipe
from engines.onnxruntime_engine import OnnxRuntimeEngine
from tests.engine_builder.test_recipe import RECIPE

pytest.importorskip("torch", reason="torch is in the build extra only")
pytest.importorskip("onnxscript", reason="onnxscript is in the build extra only")
pytest.importorskip("matplotlib", reason="matplotlib is in the build extra only")


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "tiny.pt").write_text("7")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "spreads.json").write_text("{}")
    return Workspace(tmp_path / "data", tmp_path / "work")


@pytest.fixture
def recipe_path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    text = RECIPE.replace('exclude = ["head"]', "").replace(
        'training_command = "none"', 'training_command = "none"\ndata_files = ["spreads.json"]'
    )
    path.write_text(text.replace('build = "', 'exporter = "torchscript"\nopset = 17\nbuild = "'))
    return path


def _build(recipe: Recipe, place: Workspace, output: Path) -> list[tuple[str, str]]:
    heard: list[tuple[str, str]] = []
    built = Builder(
        place, output, lambda step, outcome: heard.append((step, outcome)), OnnxRuntimeEngine
    ).build(recipe)
    assert built.pack.directory == output / "tiny"
    return heard


def test_a_recipe_becomes_a_pack(recipe_path: Path, place: Workspace, tmp_path: Path) -> None:
    heard = _build(read_recipe(recipe_path), place, tmp_path / "packs")
    # the recipe asks for no calibrated confidence
    assert [step for step, outcome in heard if outcome] == [step for step in STEPS if step != "confidence"]
    assert dict(heard)["quantize"].startswith("2 operators in int8, 0 left in float by the recipe")
    card = (tmp_path / "packs" / "tiny" / "MODEL_CARD.md").read_text()
    assert RESEARCH_USE_ONLY in card
    assert "| share |" in card
    assert "data `spreads.json`, sha256 `44136fa3" in card
    report = json.loads((place.work / "export" / "tiny.compare.json").read_text())
    assert report["thresholds"][0]["metric"] == "parity.logits.cosine"
    assert (place.work / "export" / "tiny.compare.svg").stat().st_size > 1000


def test_a_missed_threshold_leaves_no_pack(recipe_path: Path, place: Workspace, tmp_path: Path) -> None:
    recipe_path.write_text(recipe_path.read_text().replace("limit = 0.99", "limit = 2.0"))
    with pytest.raises(BuildFailed, match=r"expected parity.logits.cosine at least 2 and got 0.9|got 1"):
        _build(read_recipe(recipe_path), place, tmp_path / "packs")
    assert not (tmp_path / "packs").exists()
    assert (place.work / "export" / "tiny.compare.json").is_file()


def test_in_fp32_the_middle_steps_are_left_out(recipe_path: Path, place: Workspace, tmp_path: Path) -> None:
    recipe = read_recipe(recipe_path).model_copy(update={"precision": Precision.FP32})
    heard = _build(recipe, place, tmp_path / "packs")
    assert [step for step, outcome in heard if outcome] == ["export", "lint FP32", "pack", "try"]


def test_a_missing_checkpoint_is_said_first(recipe_path: Path, place: Workspace, tmp_path: Path) -> None:
    (place.work / "tiny.pt").unlink()
    with pytest.raises(BuildFailed, match=r"expected the checkpoint .* and got nothing there: train first"):
        _build(read_recipe(recipe_path), place, tmp_path / "packs")


def test_the_command_line_runs_the_steps_one_by_one(
    recipe_path: Path, place: Workspace, tmp_path: Path
) -> None:
    fp32, int8 = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    where = ["--data", str(place.data), "--work", str(place.work)]
    source = "tests.simulators.tiny_task:calibration"
    run = CliRunner().invoke
    exported = run(cli, ["export", str(recipe_path), str(fp32), *where], catch_exceptions=False)
    assert "logits: cosine 1.000000" in exported.output
    words = ["quantize", str(fp32), str(int8), "--calibration", source, "--samples", "4", *where]
    quantized = run(cli, words, catch_exceptions=False)
    assert quantized.output == "2 operators in int8, 0 excluded, 0 without weights, 4 samples\n"
    assert run(cli, ["lint", str(int8)], catch_exceptions=False).output == "int8.onnx: no findings\n"
    with pytest.raises(
        BuildFailed, match=r"\[precision\] expected an INT8 graph to have QDQ pairs and got none"
    ):
        run(cli, ["lint", str(fp32)], catch_exceptions=False)
    report = tmp_path / "report.json"
    words = ["compare", str(recipe_path), str(fp32), str(int8), "--report", str(report), *where]
    compared = run(cli, words, catch_exceptions=False)
    assert "parity.logits.cosine" in compared.output
    assert json.loads(report.read_text())["thresholds"][0]["met"] is True


def test_build_shows_its_steps_and_where_the_pack_is(
    recipe_path: Path, place: Workspace, tmp_path: Path
) -> None:
    words = ["build", str(recipe_path), "--output", str(tmp_path / "packs"), "--precision", "FP32"]
    words += ["--data", str(place.data), "--work", str(place.work)]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 0
    assert "golden outputs agree" in result.output
    assert "contract hash" in result.output
