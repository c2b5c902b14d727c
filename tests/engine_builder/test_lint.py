from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from appliance.models.manifest import Precision
from engine_builder.lint import Rule, lint
from engine_builder.tensorrt_ops import DATA_DEPENDENT_OPS, SUPPORTED_OPS
from tests.simulators.graphs import node, replace_tensor, tiny_float_model, tiny_quantized_model

Change = Callable[[onnx.ModelProto], None]


def sentences(model: onnx.ModelProto, precision: Precision = Precision.INT8) -> list[str]:
    return [str(finding) for finding in lint(model, precision)]


def test_graphs_in_the_form_have_no_findings() -> None:
    assert sentences(tiny_quantized_model()) == []
    assert sentences(tiny_float_model(), Precision.FP32) == []


def _tensor(name: str, array: object) -> Change:
    return lambda model: replace_tensor(model, name, np.asarray(array))


def _inputs(name: str, *inputs: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        found = node(model, name)
        del found.input[:]
        found.input.extend(inputs)

    return change


def _int32_bias(model: onnx.ModelProto) -> None:
    replace_tensor(model, "bias", np.zeros(6, np.int32))
    model.graph.initializer.append(numpy_helper.from_array(np.full(6, 1e-4, np.float32), "b_scale"))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(6, np.int32), "b_zero"))
    model.graph.node.insert(
        0, helper.make_node("DequantizeLinear", ["bias", "b_scale", "b_zero"], ["bd"], name="b_dq", axis=0)
    )
    node(model, "conv").input[2] = "bd"


def _unsigned_activation(model: onnx.ModelProto) -> None:
    replace_tensor(model, "x_zero", np.uint8(128))


def _wrong_axis(model: onnx.ModelProto) -> None:
    node(model, "w_dq").attribute[0].i = 1


def _float_weights(model: onnx.ModelProto) -> None:
    replace_tensor(model, "w", np.ones((6, 1, 3, 3), np.float32))
    model.graph.node.insert(
        0, helper.make_node("QuantizeLinear", ["w", "w_scale", "w_zero"], ["wq"], name="w_q", axis=0)
    )
    node(model, "w_dq").input[0] = "wq"


def _two_scales(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "other"))
    node(model, "x_dq").input[1] = "other"


def _quantized_output(model: onnx.ModelProto) -> None:
    model.graph.node.append(
        helper.make_node("QuantizeLinear", ["y", "x_scale", "x_zero"], ["yq"], name="y_q")
    )
    model.graph.output.append(helper.make_tensor_value_info("yq", TensorProto.INT8, [1, 6, 8, 8]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            _tensor("x_zero", np.int8(5)),
            "x_dq: expected symmetric activation quantisation with zero point 0 and got 5",
        ),
        (_unsigned_activation, "x_q: expected activation quantisation in int8 and got uint8"),
        (
            _tensor("w_zero", np.array([0, 0, -3, 0, 0, 1], np.int8)),
            "w_dq: expected symmetric weight quantisation with zero point 0 and got -3",
        ),
        (
            lambda model: (_tensor("w_scale", np.float32(0.01))(model), _tensor("w_zero", np.int8(0))(model)),
            "conv: expected one weight scale for each of 6 channels and got one for the tensor",
        ),
        (_wrong_axis, "conv: expected 6 weight scales along axis 0 and got 6 along axis 1"),
        (_int32_bias, "b_dq: expected a float bias and got int32 behind DequantizeLinear"),
        (_int32_bias, "conv: expected a float bias and got a quantised one"),
        (
            _inputs("conv", "image", "wd", "bias"),
            "conv: expected a pair on the activation of a quantised Conv and got none",
        ),
        (
            _inputs("x_dq", "image", "x_scale", "x_zero"),
            "x_q: expected QuantizeLinear to be followed by DequantizeLinear",
        ),
        (
            _inputs("x_dq", "image", "x_scale", "x_zero"),
            "expected DequantizeLinear to read int8 weights or QuantizeLinear",
        ),
        (
            _float_weights,
            "w_q: expected weights stored as int8 and got float weights that are quantised at run time",
        ),
        (_two_scales, "x_dq: expected the same scale in both halves of a pair and got two"),
        (_quantized_output, "y_q: expected float outputs of the graph and got a quantised one"),
        (
            _inputs("x_q", "image", "x_scale"),
            "x_q: expected an int8 activation zero point and got none, which means uint8",
        ),
        (_tensor("x_scale", np.float32(0)), "x_q: expected positive finite activation scales and got 0"),
        (
            _tensor("w_scale", np.full(6, np.nan, np.float32)),
            "w_dq: expected positive finite weight scales and got nan",
        ),
        (
            _tensor("x_scale", np.array([0.1, 0.2], np.float32)),
            "x_q: expected one activation scale for the tensor and got 2 by channel",
        ),
        (
            _tensor("w", np.full((6, 1, 3, 3), -128, np.int8)),
            "w_dq: expected weights from -127 to 127 and got -128, which is not symmetric",
        ),
    ],
)
def test_every_other_form_of_quantisation_has_its_sentence(change: Change, sentence: str) -> None:
    model = tiny_quantized_model()
    change(model)
    found = sentences(model)
    assert any(sentence in each for each in found), found


def test_an_operator_with_weights_alone_quantised_is_found() -> None:
    model = tiny_quantized_model()
    node(model, "conv").input[1] = "plain"
    model.graph.initializer.append(numpy_helper.from_array(np.ones((6, 1, 3, 3), np.float32), "plain"))
    assert any(
        "expected a pair on the weights of a quantised Conv and got none" in each for each in sentences(model)
    )


def test_opset_domain_and_file_format() -> None:
    assert any(
        "expected opset 17 to 20 and got 13" in each
        for each in sentences(tiny_float_model(13), Precision.FP32)
    )
    model = tiny_float_model()
    model.ir_version = 13
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    node(model, "relu").domain = "com.microsoft"
    found = sentences(model, Precision.FP32)
    assert any("expected file format 10 or older and got 13" in each for each in found)
    assert any("relu: expected a standard operator and got com.microsoft::Relu" in each for each in found)
    assert any("expected standard operators only and got domain com.microsoft" in each for each in found)


def test_weights_outside_of_the_file_and_doubles_are_found() -> None:
    model = tiny_float_model()
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    model.graph.initializer.append(numpy_helper.from_array(np.ones(2), "double"))
    found = sentences(model, Precision.FP32)
    assert any("w1: expected the weights inside the file and got external data" in each for each in found)
    assert any("double: expected at most single precision and got double" in each for each in found)


def test_operators_that_tensorrt_does_not_parse_are_found() -> None:
    model = tiny_float_model()
    node(model, "relu").op_type = "Det"
    (finding,) = lint(model, Precision.FP32)
    assert (finding.rule, finding.where) == (Rule.OPERATOR, "relu")
    assert finding.sentence == "expected an operator of TensorRT's parser and got Det"
    node(model, "relu").op_type = "NonZero"
    (finding,) = lint(model, Precision.FP32)
    assert finding.rule is Rule.SHAPE
    assert "NonZero, whose output depends on the data" in finding.sentence
    assert not SUPPORTED_OPS & DATA_DEPENDENT_OPS


def test_limits_of_single_operators_are_found() -> None:
    model = tiny_float_model()
    model.graph.initializer.append(numpy_helper.from_array(np.array([4000], np.int64), "k"))
    model.graph.node.extend(
        [
            helper.make_node("TopK", ["f", "k"], ["v", "i"], name="top"),
            helper.make_node("MaxPool", ["r1"], ["m", "mi"], name="max", kernel_shape=[2, 2]),
            helper.make_node("Resize", ["r1", "", "s"], ["z"], name="size", mode="cubic"),
        ]
    )
    found = sentences(model, Precision.FP32)
    assert "[operator] top: expected K of TopK below 3840 and got 4000" in found
    assert "[operator] max: expected MaxPool without indices and got them as an output" in found
    assert "[operator] size: expected nearest or linear Resize and got cubic" in found


def test_only_the_allowed_batch_may_be_dynamic() -> None:
    model = tiny_float_model(batch="batch")
    assert lint(model, Precision.FP32, dynamic_batch=True) == ()
    found = sentences(model, Precision.FP32)
    assert (
        "[shape] image: expected every dimension of the input to be static and got batch at axis 0" in found
    )
    assert (
        "[shape] logits: expected every dimension of the output to be static and got batch at axis 0" in found
    )
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    (finding,) = lint(model, Precision.FP32, dynamic_batch=True)
    assert (
        finding.sentence
        == "expected every dimension but the batch of the input to be static and got height at axis 2"
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert any(
        "expected the output to have a shape and got none" in each
        for each in sentences(model, Precision.FP32)
    )


def test_the_precision_has_to_be_what_the_manifest_says() -> None:
    assert "expected an INT8 graph to have QDQ pairs and got none" in sentences(tiny_float_model())[0]
    found = sentences(tiny_quantized_model(), Precision.FP32)
    assert found == ["[precision] expected no quantisation in an FP32 graph and got 3 nodes of it"]
    assert (
        "expected an FP16 graph to have half-precision weights"
        in sentences(tiny_float_model(), Precision.FP16)[0]
    )
    model = tiny_float_model()
    replace_tensor(model, "w1", np.ones((6, 1, 3, 3), np.float16))
    assert sentences(model, Precision.FP32) == [
        "[precision] expected no half-precision weights in an FP32 graph and got 1"
    ]
