from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import InferenceFailed
from appliance.inference.batching import form_of, join, rows_of, split, takes_rows
from engines import TensorSpec


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_every_call_gets_its_own_rows_back(rows: list[int]) -> None:
    numbers = iter(range(1000))
    calls = [
        {"x": np.array([[next(numbers)] * 3 for _ in range(count)], np.float32), "y": np.zeros((count, 1))}
        for count in rows
    ]
    joined = join(calls)
    answers = split({"twice": 2 * joined["x"]}, rows)
    assert len(answers) == len(calls)
    for call, answer in zip(calls, answers, strict=True):
        np.testing.assert_array_equal(answer["twice"], 2 * call["x"])
        assert answer["twice"].base is None  # no caller holds the others' outputs in memory


def test_another_number_of_rows_than_went_in_is_no_answer() -> None:
    with pytest.raises(InferenceFailed, match=r"expected 3 rows in output y .* got 2"):
        split({"y": np.zeros((2, 4))}, [1, 2])


def test_form_and_rows() -> None:
    one = {"x": np.zeros((2, 3), np.float32)}
    assert form_of(one) == form_of({"x": np.zeros((7, 3), np.float32)})
    assert rows_of(one) == 2
    different = [
        {"x": np.zeros((2, 4), np.float32)},
        {"x": np.zeros((2, 3), np.float64)},
        {"z": np.zeros((2, 3), np.float32)},
        {"x": np.zeros((2, 3, 1), np.float32)},
    ]
    assert all(form_of(other) != form_of(one) for other in different)


@pytest.mark.parametrize(
    "tensors",
    [
        {"x": np.zeros((2, 3)), "y": np.zeros((3, 3))},
        {"x": np.float32(1.0) * np.ones(())},
        {"x": np.zeros((0, 3))},
        {},
    ],
    ids=["disagree", "no dimension", "no rows", "no tensors"],
)
def test_tensors_without_a_number_of_rows_have_no_form(tensors: dict[str, np.ndarray]) -> None:
    assert form_of(tensors) is None


def test_only_a_model_whose_every_first_dimension_is_free_takes_rows() -> None:
    free, fixed = TensorSpec("a", "FP32", (-1, 3)), TensorSpec("b", "FP32", (1, 3))
    assert takes_rows((free, free))
    assert not takes_rows((free, fixed))
    assert not takes_rows((free, TensorSpec("c", "FP32", ())))
    assert not takes_rows(())
