"""Small ONNX files for engine tests: real graphs with random but fixed weights, float and quantised."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CROPS = "crops"
CROP_SHAPE = (1, 32, 24)
CLASSES = 24
FIELD_SHAPE = (1, 1, 64, 64)
FILM_SHAPE = (3, 32, 48)
_QUANTIZED_OPERATORS = ["Conv", "ConvTranspose", "Gemm", "MatMul"]


class _Graph:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def weight(self, name: str, array: NDArray[Any]) -> str:
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def conv(
        self, source: str, name: str, sizes: tuple[int, int, int], stride: int = 1, group: int = 1
    ) -> str:
        kernel, channels, filters = sizes
        spread = (2.0 / (channels // group * kernel * kernel)) ** 0.5
        weight = self.rng.normal(0, spread, (filters, channels // group, kernel, kernel)).astype(np.float32)
        bias = self.rng.normal(0, 0.1, filters).astype(np.float32)
        inputs = [source, self.weight(f"{name}.w", weight), self.weight(f"{name}.b", bias)]
        attributes = {"pads": [kernel // 2] * 4, "strides": [stride] * 2, "group": group}
        return self.add("Conv", inputs, name, kernel_shape=[kernel] * 2, **attributes)

    def silu(self, source: str) -> str:
        return self.add("Mul", [source, self.add("Sigmoid", [source], f"{source}.gate")], f"{source}.silu")

    def dense(self, source: str, name: str, channels: int, features: int) -> str:
        weight = self.rng.normal(0, channels**-0.5, (channels, features)).astype(np.float32)
        bias = self.rng.normal(0, 0.1, features).astype(np.float32)
        return self.add(
            "Gemm", [source, self.weight(f"{name}.w", weight), self.weight(f"{name}.b", bias)], name
        )

    def save(self, path: Path, inputs: dict[str, list[Any]], outputs: dict[str, list[Any]]) -> Path:
        graph = helper.make_graph(
            self.nodes, "small", [_value(*item) for item in inputs.items()],
            [_value(*item) for item in outputs.items()], self.weights,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return path


def _value(name: str, shape: list[Any]) -> onnx.ValueInfoProto:
    integer = name.endswith("_int64")
    return helper.make_tensor_value_info(name, TensorProto.INT64 if integer else TensorProto.FLOAT, shape)


def save_classifier(path: Path, seed: int = 0) -> Path:
    """Crops [N,1,32,24] → class_logits [N,24], polarity_logit [N,1]: the classifier's contract in small."""
    graph = _Graph(seed)
    stem = graph.silu(graph.conv(CROPS, "stem", (3, 1, 16)))
    depthwise = graph.silu(graph.conv(stem, "depthwise", (3, 16, 16), group=16))
    body = graph.add("Relu", [graph.conv(depthwise, "body", (3, 16, 32), stride=2)], "body.relu")
    pooled = graph.add("Flatten", [graph.add("GlobalAveragePool", [body], "pooled")], "flat")
    graph.dense(pooled, "class_logits", 32, CLASSES)
    graph.dense(pooled, "polarity_logit", 32, 1)
    return graph.save(
        path, {CROPS: ["N", *CROP_SHAPE]}, {"class_logits": ["N", CLASSES], "polarity_logit": ["N", 1]}
    )


def save_segmenter(path: Path, seed: int = 0) -> Path:
    """Image [1,1,64,64] → logits [1,3,64,64]: squeeze-excite, depthwise, a skip and two decoder steps."""
    graph = _Graph(seed)
    stem = graph.silu(graph.conv("image", "stem", (3, 1, 16)))
    down = graph.silu(graph.conv(stem, "down", (3, 16, 32), stride=2))
    depthwise = graph.silu(graph.conv(down, "depthwise", (5, 32, 32), group=32))
    squeezed = graph.add("GlobalAveragePool", [depthwise], "squeezed")
    excited = graph.conv(graph.silu(graph.conv(squeezed, "reduce", (1, 32, 8))), "expand", (1, 8, 32))
    scaled = graph.add("Mul", [depthwise, graph.add("Sigmoid", [excited], "excitation")], "scaled")
    projected = graph.add("Add", [graph.conv(scaled, "project", (1, 32, 32)), down], "residual")
    sizes = graph.weight("scales", np.array([1, 1, 2, 2], np.float32))
    up = graph.add("Resize", [projected, "", sizes], "up", mode="nearest")
    joined = graph.add("Concat", [up, stem], "joined", axis=1)
    decoded = graph.add("Relu", [graph.conv(joined, "decode", (3, 48, 16))], "decode.relu")
    graph.conv(decoded, "logits", (3, 16, 3))
    return graph.save(path, {"image": list(FIELD_SHAPE)}, {"logits": [1, 3, *FIELD_SHAPE[2:]]})


def save_film_reader(path: Path, seed: int = 0) -> Path:
    """Images [N,3,32,48] of 0..1 → found [N,5]: colour and place both count."""
    graph = _Graph(seed)
    stem = graph.silu(graph.conv("images", "stem", (3, 3, 16), stride=2))
    body = graph.add("Relu", [graph.conv(stem, "body", (3, 16, 8), stride=2)], "body.relu")
    flat = graph.add("Flatten", [body], "flat")
    graph.dense(flat, "found", 8 * 8 * 12, 5)
    return graph.save(path, {"images": ["N", *FILM_SHAPE]}, {"found": ["N", 5]})


def save_arithmetic(path: Path) -> Path:
    """a [N,4] FP32, b_int64 [N,4] INT64 → y = 2a + b, without any weights to hide behind."""
    graph = _Graph(0)
    doubled = graph.add("Mul", ["a", graph.weight("two", np.array(2, np.float32))], "doubled")
    graph.add("Add", [doubled, graph.add("Cast", ["b_int64"], "b.float", to=TensorProto.FLOAT)], "y")
    return graph.save(path, {"a": ["N", 4], "b_int64": ["N", 4]}, {"y": ["N", 4]})


def quantize(source: Path, target: Path, calibration: list[dict[str, NDArray[Any]]]) -> Path:
    """The QDQ form of a model pack: symmetric int8, weights per channel, activations per tensor."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left: Iterator[dict[str, NDArray[Any]]] = iter(calibration)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(self._left, None)

    quantize_static(
        source, target, Reader(),
        quant_format=QuantFormat.QDQ, per_channel=True, op_types_to_quantize=_QUANTIZED_OPERATORS,
        activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
        extra_options={
            "ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": _QUANTIZED_OPERATORS,
        },
    )  # fmt: skip
    return target
