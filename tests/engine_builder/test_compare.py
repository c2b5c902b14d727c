from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from engine_builder.compare import Comparison, Contender, Parity, compare, write_report
from engine_builder.errors import BuildFailed
from engine_builder.plot import plot_comparison
from engine_builder.quantize import QuantizationSettings, quantize
from engine_builder.recipe import Infer, Measurement, ThresholdPart
from engines.contract import Engine
from engines.onnxruntime_engine import OnnxRuntimeEngine
from tests.simulators import graphs


def opener(path: Path) -> Engine:
    return OnnxRuntimeEngine(path)


def margin(infer: Infer) -> Mapping[str, Measurement]:
    """Mean distance between the two best logits: some number that quantisation hardly changes."""
    values = []
    for sample in graphs.samples(5, seed=8):
        ordered = np.sort(infer(sample)["logits"][0])
        values.append(ordered[-1] - ordered[-2])
    return {"margin": Measurement(float(np.mean(values)), len(values))}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    fp32 = graphs.save(graphs.tiny_float_model(), folder / "fp32.onnx")
    quantize(fp32, folder / "int8.onnx", graphs.samples(16), QuantizationSettings())
    return fp32, folder / "int8.onnx"


@pytest.fixture(scope="module")
def comparison(pair: tuple[Path, Path]) -> Comparison:
    return compare(*pair, margin, graphs.samples(3, seed=5), opener)


def test_both_files_are_measured_and_both_parities_taken(comparison: Comparison) -> None:
    assert comparison.fp32.engine == "onnxruntime"
    assert comparison.fp32.measurements["margin"].n == 5
    (parity,) = comparison.parity
    assert parity.output == "logits"
    assert parity.n == 3
    assert parity.cosine_min > 0.999
    assert parity.cosine_min <= parity.cosine_mean <= 1.0
    (quantization,) = comparison.quantization
    assert 0.98 < quantization.cosine_min < 1.0
    assert quantization.max_abs > 0.0


def test_figures_have_the_names_that_thresholds_use(comparison: Comparison) -> None:
    figures = comparison.figures()
    assert set(figures) == {
        "fp32.margin",
        "int8.margin",
        "drop.margin",
        "parity.logits.cosine",
        "parity.logits.max_abs",
        "quantization.logits.cosine",
        "quantization.logits.max_abs",
    }
    assert figures["drop.margin"].value == pytest.approx(
        figures["fp32.margin"].value - figures["int8.margin"].value
    )


def test_thresholds_are_held_against_their_figures(comparison: Comparison) -> None:
    met, missed, drop = comparison.judge(
        [
            ThresholdPart(metric="parity.logits.cosine", bound="at_least", limit=0.9),
            ThresholdPart(metric="parity.logits.cosine", bound="at_least", limit=1.5),
            ThresholdPart(metric="drop.margin", bound="at_most", limit=-5.0),
        ]
    )
    assert (met.met, missed.met, drop.met) == (True, False, False)
    assert met.n == 3
    with pytest.raises(BuildFailed, match=r"expected a threshold on one of .* and got int8.colour"):
        comparison.judge([ThresholdPart(metric="int8.colour", bound="at_least", limit=0.1)])


def test_the_report_holds_every_number(comparison: Comparison, tmp_path: Path) -> None:
    verdicts = comparison.judge([ThresholdPart(metric="int8.margin", bound="at_least", limit=0.001)])
    write_report(comparison, verdicts, tmp_path / "report.json")
    tree = json.loads((tmp_path / "report.json").read_text())
    assert tree["int8"]["measurements"]["margin"]["value"] == comparison.int8.measurements["margin"].value
    assert tree["parity"][0]["cosine_min"] == comparison.parity[0].cosine_min
    assert tree["thresholds"][0]["met"] is True


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_plot_is_drawn_without_a_display(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is in the build extra only")
    contender = Contender("FP32", "onnxruntime", "CPU", "FP32", {"dice": Measurement(0.9, 40)})
    parity = (Parity("logits", 0.999, 0.9995, 0.1, 8), Parity("boxes", 1.0, 1.0, 0.0, 8))
    path = tmp_path / f"plot.{suffix}"
    plot_comparison(Comparison(contender, contender, parity, parity), "tiny 1.0.0", path)
    start = path.read_bytes()[:200]
    assert start.startswith(b"\x89PNG") if suffix == "png" else b"<svg" in path.read_bytes()[:2000]


def test_nothing_to_compare_on_is_a_mistake(pair: tuple[Path, Path]) -> None:
    with pytest.raises(BuildFailed, match="expected at least one sample to compare on and got none"):
        compare(*pair, margin, iter(()), opener)
    with pytest.raises(BuildFailed, match="expected the metric to measure something and got nothing"):
        compare(*pair, lambda _: {}, graphs.samples(1), opener)
    with pytest.raises(BuildFailed, match="expected a finite score over at least one sample and got"):
        compare(*pair, lambda _: {"score": Measurement(float("nan"), 1)}, graphs.samples(1), opener)
    with pytest.raises(BuildFailed, match="expected a finite score over at least one sample and got"):
        compare(*pair, lambda _: {"score": Measurement(1.0, 0)}, graphs.samples(1), opener)
