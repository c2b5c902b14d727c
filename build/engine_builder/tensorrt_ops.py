"""Which ONNX operators TensorRT's parser takes, as facts.

Source: the operator table in the documentation of onnx-tensorrt (docs/operators.md, TensorRT 10.15), less
what it marks as unsupported, less the operators that have no use in a static image network (control flow,
recurrence, random numbers, signal windows).
"""

from __future__ import annotations

from typing import Final

MAX_TOP_K: Final = 3840
"""K of TopK has to be below this."""

DATA_DEPENDENT_OPS: Final = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})
"""Shapes of their outputs depend on the data; two of them parse, none of them is static."""

_ARITHMETIC = (
    "Abs Add Ceil Div Erf Exp Floor Log Max Mean Min Mod Mul Neg Pow Reciprocal Round Sign Sqrt Sub Sum"
)
_TRIGONOMETRY = "Acos Acosh Asin Asinh Atan Atanh Cos Cosh Sin Sinh Tan"
_LOGIC = "And Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Not Or Where Xor"
_ACTIVATIONS = (
    "Celu Clip Elu Gelu HardSigmoid HardSwish Hardmax LeakyRelu LogSoftmax Mish PRelu Relu Selu Sigmoid"
    " Softmax Softplus Softsign Tanh ThresholdedRelu"
)
_LAYERS = (
    "AveragePool BatchNormalization Conv ConvTranspose DeformConv Dropout Einsum Gemm GlobalAveragePool"
    " GlobalLpPool GlobalMaxPool GridSample GroupNormalization InstanceNormalization LRN LayerNormalization"
    " LpNormalization LpPool MatMul MaxPool MeanVarianceNormalization Resize RoiAlign Upsample"
)
_REDUCTIONS = (
    "ArgMax ArgMin CumSum ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin"
    " ReduceProd ReduceSum ReduceSumSquare TopK"
)
_SHAPING = (
    "Cast CastLike Concat Constant ConstantOfShape DepthToSpace Expand EyeLike Flatten Gather GatherElements"
    " GatherND Identity OneHot Pad Range Reshape ReverseSequence ScatterElements ScatterND Shape Size Slice"
    " SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze"
)
_QUANTIZATION = "DequantizeLinear QuantizeLinear"

SUPPORTED_OPS: Final = frozenset(
    " ".join(
        (_ARITHMETIC, _TRIGONOMETRY, _LOGIC, _ACTIVATIONS, _LAYERS, _REDUCTIONS, _SHAPING, _QUANTIZATION)
    ).split()
)
"""Operators that a pack may use."""
