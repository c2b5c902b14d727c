"""FP32 graph → the one INT8 form that serves OpenVINO and TensorRT: explicit symmetric QDQ.

Symmetric int8 with zero point 0, per-channel weights, per-tensor activations, float bias, and pairs only in
front of the operators that compute in int8. `engine_builder.lint` says when a graph has any other form.
"""

from __future__ import annotations

import enum
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import quantization as ort_quantization

from engine_builder.errors import BuildFailed
from engine_builder.graph import constant_names, save, strip_unused_domains

Tensors = Mapping[str, NDArray[Any]]

QUANTIZED_OPS: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that compute in int8; everything else stays in float."""


class CalibrationMethod(enum.Enum):
    """How an activation's range is taken from what calibration saw."""

    MINMAX = "minmax"  # the extremes: nothing is clipped, outliers cost resolution
    ENTROPY = "entropy"  # the clipping with the least Kullback-Leibler divergence
    PERCENTILE = "percentile"  # a share of the absolute values, see `percentile`


@dataclass(frozen=True)
class QuantizationSettings:
    """Choices of one quantisation."""

    method: CalibrationMethod = CalibrationMethod.MINMAX
    percentile: float = 99.99  # only for PERCENTILE: share of values inside the range, in percent
    exclude: tuple[str, ...] = ()  # regular expressions; operators whose whole name matches stay in float


@dataclass(frozen=True)
class QuantizationSummary:
    """What became of the operators that could have been quantised."""

    quantized: tuple[str, ...]  # node names
    excluded: tuple[str, ...]  # by a pattern of the settings
    weightless: tuple[str, ...]  # products of two activations: they have no weights to quantise
    samples: int  # calibration samples that were read


def quantize(
    source: Path, target: Path, samples: Iterable[Tensors], settings: QuantizationSettings
) -> QuantizationSummary:
    """Quantise a graph.

    Args:
        source: FP32 ONNX file, simplified (`engine_builder.export.simplify`).
        target: where the INT8 file is written.
        samples: calibration inputs by name, as the box will see them.
        settings: method and exceptions.

    Raises:
        BuildFailed: no sample, a pattern that matches nothing, or no operator left to quantise.
    """
    model = onnx.load(source)
    nodes = _sort_nodes(model, settings.exclude)
    reader = _Reader(samples)
    method = {
        CalibrationMethod.MINMAX: ort_quantization.CalibrationMethod.MinMax,
        CalibrationMethod.ENTROPY: ort_quantization.CalibrationMethod.Entropy,
        CalibrationMethod.PERCENTILE: ort_quantization.CalibrationMethod.Percentile,
    }[settings.method]
    options: dict[str, Any] = {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "QuantizeBias": False,
        "OpTypesToExcludeOutputQuantization": list(QUANTIZED_OPS),
    }
    if settings.method is not CalibrationMethod.MINMAX:
        # Histograms need whole activations: one sample at a time, or they are all held in memory at once.
        options["CalibStridedMinMax"] = 1
    if settings.method is CalibrationMethod.PERCENTILE:
        options["CalibPercentile"] = settings.percentile
    root = logging.getLogger()
    level = root.level
    # ONNX Runtime writes advice to the root logger that does not fit here: the graph was simplified before.
    root.setLevel(logging.ERROR)
    try:
        ort_quantization.quantize_static(
            str(source),
            str(target),
            reader,
            quant_format=ort_quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED_OPS),
            per_channel=True,
            activation_type=ort_quantization.QuantType.QInt8,
            weight_type=ort_quantization.QuantType.QInt8,
            nodes_to_exclude=[*nodes.excluded, *nodes.weightless],
            calibrate_method=method,
            extra_options=options,
        )
    except ValueError as exc:
        raise BuildFailed(f"calibration of {source.name} failed: {exc}") from exc
    finally:
        root.setLevel(level)
    save(strip_unused_domains(onnx.load(target)), target)
    return QuantizationSummary(nodes.quantized, nodes.excluded, nodes.weightless, len(reader))


@dataclass(frozen=True)
class _Nodes:
    quantized: tuple[str, ...]
    excluded: tuple[str, ...]
    weightless: tuple[str, ...]


def _sort_nodes(model: onnx.ModelProto, patterns: tuple[str, ...]) -> _Nodes:
    constants = constant_names(model.graph)
    quantized, excluded, weightless = [], [], []
    unused = set(patterns)
    for node in model.graph.node:
        if node.op_type not in QUANTIZED_OPS:
            continue
        if not node.name:
            raise BuildFailed(f"expected every {node.op_type} to have a name and got one without")
        matching = {pattern for pattern in patterns if re.fullmatch(pattern, node.name)}
        unused -= matching
        if matching:
            excluded.append(node.name)
        elif node.input[1] not in constants:
            weightless.append(node.name)
        else:
            quantized.append(node.name)
    if unused:
        names = ", ".join(sorted(unused))
        raise BuildFailed(f"expected every exclude pattern to match a node and got none for {names}")
    if not quantized:
        raise BuildFailed(
            f"expected at least one of {', '.join(QUANTIZED_OPS)} with weights to quantise and got none"
        )
    return _Nodes(tuple(quantized), tuple(excluded), tuple(weightless))


class _Reader(ort_quantization.CalibrationDataReader):
    """Hands samples to the calibrator, all of them or a range at a time."""

    def __init__(self, samples: Iterable[Tensors]) -> None:
        self._samples = [dict(sample) for sample in samples]
        if not self._samples:
            raise BuildFailed("expected at least one calibration sample and got none")
        for sample in self._samples:
            for name, array in sample.items():
                if not np.isfinite(array).all():
                    raise BuildFailed(f"expected finite calibration data and got NaN or infinity in {name}")
        self.set_range(0, len(self._samples))

    def __len__(self) -> int:
        return len(self._samples)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with the samples from `start_index` up to, not including, `end_index`."""
        self._next, self._end = start_index, end_index

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next sample, or None at the end of the range."""
        if self._next >= self._end:
            return None
        self._next += 1
        return self._samples[self._next - 1]
