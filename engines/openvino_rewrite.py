"""Moves a graph's int8 activations to uint8 before OpenVINO compiles it: the same grid, computed rightly.

The ONNX reader turns QuantizeLinear into FakeQuantize + Convert(i8) and DequantizeLinear into
Convert(f32) − zero point × scale. OpenVINO 2026.4 was measured to compute some int8 activations wrongly
(docs/adr/0003-engines.md), so every pair with zero point 0 becomes uint8 with zero point 128 and the same
scale: q + 128 instead of q on both sides, hence the same real numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_INT8_LOW, _INT8_HIGH, _SHIFT = -128, 127, 128


@dataclass(frozen=True)
class Rewritten:
    """How many int8 activations were rewritten, and how many have a form that is left as it was."""

    pairs: int
    left: int


@dataclass(frozen=True)
class _Dequantizer:
    """The nodes behind one use of a quantised tensor: `to_float`, an optional `subtract`, then `multiply`."""

    to_float: Any
    subtract: Any | None
    multiply: Any


@dataclass(frozen=True)
class _Pair:
    """One activation's quantiser (`fake_quantize` and `to_int8`) and all its dequantisers."""

    fake_quantize: Any
    to_int8: Any
    dequantizers: tuple[_Dequantizer, ...]


def has_quantized_activations(model: Any) -> bool:
    """Whether the ov.Model quantises any activation explicitly."""
    return any(node.get_type_name() == "FakeQuantize" for node in model.get_ops())


def shift_activations_to_uint8(model: Any) -> Rewritten:
    """Rewrite in place every int8 pair with zero point 0.

    Args:
        model: an `openvino.Model` read from ONNX.
    """
    from openvino import opset13 as ops

    pairs, left = _int8_pairs(model)
    for pair in pairs:
        old = pair.fake_quantize
        data, low, high = (old.input(index).get_source_output() for index in range(3))
        unsigned = ops.fake_quantize(
            data,
            low,
            high,
            ops.constant(np.float32(_INT8_LOW + _SHIFT)),
            ops.constant(np.float32(_INT8_HIGH + _SHIFT)),
            levels=_INT8_HIGH - _INT8_LOW + 1,
        )
        quantized = ops.convert(unsigned, "u8")
        quantized.set_friendly_name(pair.to_int8.get_friendly_name())
        for dequantizer in pair.dequantizers:
            as_float = ops.convert(quantized, "f32")
            zero_point = ops.convert(ops.constant(np.uint8(_SHIFT)), "f32")
            centred = ops.subtract(as_float, zero_point)
            before = dequantizer.subtract or dequantizer.to_float
            _replace(dequantizer.multiply, before, centred)
    model.validate_nodes_and_infer_types()
    return Rewritten(len(pairs), left)


def drop_activation_pairs(model: Any) -> Rewritten:
    """Remove in place every int8 activation pair, so that float arithmetic runs on the quantised weights."""
    pairs, left = _int8_pairs(model)
    for pair in pairs:
        data = pair.fake_quantize.input(0).get_source_output()
        for dequantizer in pair.dequantizers:
            for target in dequantizer.multiply.output(0).get_target_inputs():
                target.replace_source_output(data)
    model.validate_nodes_and_infer_types()
    return Rewritten(len(pairs), left)


def _int8_pairs(model: Any) -> tuple[list[_Pair], int]:
    import openvino

    found, left = [], 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convert" or node.get_output_element_type(0) != openvino.Type.i8:
            continue
        source = node.input(0).get_source_output().get_node()
        if source.get_type_name() != "FakeQuantize" or not _spans_int8(source):
            continue
        dequantizers = [_dequantizer(target.get_node()) for target in node.output(0).get_target_inputs()]
        complete = tuple(found_one for found_one in dequantizers if found_one is not None)
        if complete and len(complete) == len(dequantizers):
            found.append(_Pair(source, node, complete))
        else:
            left += 1
    return found, left


def _spans_int8(fake_quantize: Any) -> bool:
    low, high = (_constant(fake_quantize.input(index).get_source_output().get_node()) for index in (3, 4))
    if low is None or high is None:
        return False
    return bool(np.all(low == _INT8_LOW) and np.all(high == _INT8_HIGH))


def _dequantizer(to_float: Any) -> _Dequantizer | None:
    targets = list(to_float.output(0).get_target_inputs())
    if to_float.get_type_name() != "Convert" or len(targets) != 1:
        return None
    following = targets[0].get_node()
    if following.get_type_name() == "Multiply":
        return _Dequantizer(to_float, None, following)
    if following.get_type_name() != "Subtract" or not _is_zero(following):
        return None
    targets = list(following.output(0).get_target_inputs())
    if len(targets) != 1 or targets[0].get_node().get_type_name() != "Multiply":
        return None
    return _Dequantizer(to_float, following, targets[0].get_node())


def _is_zero(subtract: Any) -> bool:
    node = subtract.input(1).get_source_output().get_node()
    if node.get_type_name() == "Convert":
        node = node.input(0).get_source_output().get_node()
    value = _constant(node)
    return value is not None and bool(np.all(value == 0))


def _constant(node: Any) -> Any | None:
    return node.get_data() if node.get_type_name() == "Constant" else None


def _replace(multiply: Any, before: Any, after: Any) -> None:
    for port in multiply.inputs():
        if port.get_source_output().get_node().get_name() == before.get_name():
            port.replace_source_output(after.output(0))
