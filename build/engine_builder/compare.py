"""Is the INT8 file as good as the FP32 one, and does the runtime compute what the file says?

Two questions, kept apart: the task's metric on the engine that a box would take (INT8 against FP32), and
parity of that engine with ONNX Runtime without any optimisation, which computes the file node by node.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from appliance.models.golden import agreement
from engine_builder.errors import BuildFailed
from engine_builder.recipe import Infer, Measurement, Tensors, ThresholdPart
from engines.contract import Engine, EngineInfo
from engines.onnxruntime_engine import OnnxRuntimeEngine
from engines.opening import open_engine
from engines.options import EngineOptions, QuantizedGraph

EngineOpener = Callable[[Path], Engine]
Metric = Callable[[Infer], Mapping[str, Measurement]]


@dataclass(frozen=True)
class Contender:
    """One file on one engine, with what the task's metric says of it."""

    precision: str  # of the file
    engine: str
    device: str
    computed_in: str  # what the engine made of it
    measurements: dict[str, Measurement]


@dataclass(frozen=True)
class Parity:
    """Agreement of one output between two ways to compute, over all samples."""

    output: str
    cosine_min: float
    cosine_mean: float
    max_abs: float
    n: int


@dataclass(frozen=True)
class Verdict:
    """One threshold and what was measured."""

    metric: str
    bound: Literal["at_least", "at_most"]
    limit: float
    measured: float
    n: int
    met: bool


@dataclass(frozen=True)
class Comparison:
    """All that was found out about a pair of files."""

    fp32: Contender
    int8: Contender
    parity: tuple[Parity, ...]  # INT8: the box's engine against the unoptimised reference
    quantization: tuple[Parity, ...]  # the unoptimised reference: INT8 against FP32

    def figures(self) -> dict[str, Measurement]:
        """Every number by the name that thresholds use.

        `fp32.METRIC`, `int8.METRIC`, `drop.METRIC` (FP32 less INT8), and for every output
        `parity.OUTPUT.cosine`, `parity.OUTPUT.max_abs`, `quantization.OUTPUT.cosine`,
        `quantization.OUTPUT.max_abs`; a cosine is the least over the samples.
        """
        figures: dict[str, Measurement] = {}
        for name, measured in self.fp32.measurements.items():
            figures[f"fp32.{name}"] = measured
            other = self.int8.measurements[name]
            figures[f"int8.{name}"] = other
            figures[f"drop.{name}"] = Measurement(measured.value - other.value, min(measured.n, other.n))
        for kind, parities in (("parity", self.parity), ("quantization", self.quantization)):
            for parity in parities:
                figures[f"{kind}.{parity.output}.cosine"] = Measurement(parity.cosine_min, parity.n)
                figures[f"{kind}.{parity.output}.max_abs"] = Measurement(parity.max_abs, parity.n)
        return figures

    def judge(self, thresholds: Iterable[ThresholdPart]) -> tuple[Verdict, ...]:
        """Hold every threshold against its figure.

        Raises:
            BuildFailed: a threshold names a figure that was not measured.
        """
        figures = self.figures()
        verdicts = []
        for threshold in thresholds:
            if threshold.metric not in figures:
                known = ", ".join(sorted(figures))
                raise BuildFailed(f"expected a threshold on one of {known} and got {threshold.metric}")
            measured = figures[threshold.metric]
            at_least = threshold.bound == "at_least"
            met = measured.value >= threshold.limit if at_least else measured.value <= threshold.limit
            verdicts.append(
                Verdict(threshold.metric, threshold.bound, threshold.limit, measured.value, measured.n, met)
            )
        return tuple(verdicts)


def compare(
    fp32: Path,
    int8: Path,
    metric: Metric,
    samples: Iterable[Tensors],
    opener: EngineOpener | None = None,
) -> Comparison:
    """Run both files and compare.

    Args:
        fp32: the exported graph.
        int8: the quantised graph with the same inputs and outputs.
        metric: the task's metric, asked once for each file.
        samples: inputs for the two parities; each is run four times.
        opener: gives the engine of a box; by default the best of this machine.

    Raises:
        BuildFailed: no sample, or the metric gives no number.
    """
    opener = opener or (lambda path: open_engine(path).engine)
    inputs = [dict(sample) for sample in samples]
    if not inputs:
        raise BuildFailed("expected at least one sample to compare on and got none")
    with opener(fp32) as engine:
        float_contender = _contender("FP32", engine, metric)
    with opener(int8) as engine:
        int8_contender = _contender("INT8", engine, metric)
        on_engine = [engine.infer(sample) for sample in inputs]
    if set(float_contender.measurements) != set(int8_contender.measurements):
        raise BuildFailed("expected the metric to measure the same of both files and got different names")
    exact_int8 = _reference(int8, inputs)
    exact_fp32 = _reference(fp32, inputs)
    return Comparison(
        fp32=float_contender,
        int8=int8_contender,
        parity=_parities(on_engine, exact_int8),
        quantization=_parities(exact_int8, exact_fp32),
    )


def write_report(comparison: Comparison, verdicts: Iterable[Verdict], path: Path) -> None:
    """Write everything as JSON."""
    tree = {
        "fp32": asdict(comparison.fp32),
        "int8": asdict(comparison.int8),
        "parity": [asdict(parity) for parity in comparison.parity],
        "quantization": [asdict(parity) for parity in comparison.quantization],
        "thresholds": [asdict(verdict) for verdict in verdicts],
    }
    path.write_text(json.dumps(tree, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _contender(precision: str, engine: Engine, metric: Metric) -> Contender:
    measurements = dict(metric(engine.infer))
    if not measurements:
        raise BuildFailed("expected the metric to measure something and got nothing")
    for name, measured in measurements.items():
        if not np.isfinite(measured.value) or measured.n < 1:
            raise BuildFailed(f"expected a finite {name} over at least one sample and got {measured}")
    info: EngineInfo = engine.info
    return Contender(precision, info.kind.value, info.device, info.precision, measurements)


def _reference(path: Path, inputs: list[dict[str, NDArray[Any]]]) -> list[dict[str, NDArray[Any]]]:
    with OnnxRuntimeEngine(path, EngineOptions(quantized_graph=QuantizedGraph.AS_IS)) as engine:
        return [engine.infer(sample) for sample in inputs]


def _parities(
    actual: list[dict[str, NDArray[Any]]], expected: list[dict[str, NDArray[Any]]]
) -> tuple[Parity, ...]:
    parities = []
    for name in expected[0]:
        found = [agreement(left[name], right[name]) for left, right in zip(actual, expected, strict=True)]
        cosines = [each.cosine for each in found]
        largest = max(each.max_abs for each in found)
        if not np.isfinite(largest):
            raise BuildFailed(f"expected finite numbers in output {name} and got others")
        parities.append(Parity(name, min(cosines), float(np.mean(cosines)), largest, len(found)))
    return tuple(parities)
