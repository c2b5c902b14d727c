from __future__ import annotations

import numpy as np
import pytest

from engines.tensor_spec import DATATYPES, TensorSpec


def test_every_datatype_names_one_dtype_and_back() -> None:
    for name, dtype in DATATYPES.items():
        spec = TensorSpec.of("x", dtype, (2, -1))
        assert spec.datatype == name
        assert spec.dtype == dtype
        assert spec.mismatch(np.zeros((2, 5), dtype)) is None


@pytest.mark.parametrize("shape", [(0, 3), (-2,), (4, 0)])
def test_sizes_below_one_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected sizes of 1 or more, or -1"):
        TensorSpec("x", "FP32", shape)


@pytest.mark.parametrize("datatype", ["BF16", "BYTES", "float32", ""])
def test_datatypes_that_numpy_cannot_hold_are_refused(datatype: str) -> None:
    with pytest.raises(ValueError, match="expected a datatype"):
        TensorSpec("x", datatype, (1,))


def test_dtypes_without_a_name_are_refused() -> None:
    with pytest.raises(ValueError, match="complex64"):
        TensorSpec.of("x", np.complex64, (1,))


def test_a_scalar_has_the_empty_shape() -> None:
    spec = TensorSpec("x", "FP32", ())
    assert spec.mismatch(np.float32(1)[...]) is None
    assert "expected shape [], got [1]" in str(spec.mismatch(np.zeros(1, np.float32)))


def test_filled_takes_the_dynamic_size_everywhere() -> None:
    filled = TensorSpec("x", "INT64", (-1, 3, -1)).filled(4)
    assert filled.shape == (4, 3, 4)
    assert filled.dtype == np.int64
    assert not filled.any()
