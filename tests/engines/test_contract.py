"""What the base class itself promises, with an engine that does as it is told."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.errors import EngineClosedError, EngineInputError, EngineRunError
from tests.simulators.told_engine import ToldEngine

ONE = {"x": np.ones((2, 3), np.float32)}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "expected output 'y'"),
        ({"y": np.ones((2, 3), np.float64)}, "output tensor 'y': expected datatype FP32, got FP64"),
        ({"y": np.ones((2, 4), np.float32)}, r"output tensor 'y': expected shape \[≥1,3\], got \[2, 4\]"),
        ({"y": np.ones((0, 3), np.float32)}, r"got \[0, 3\]"),
    ],
)
def test_outputs_that_break_the_contract_never_reach_the_caller(
    outputs: dict[str, NDArray[Any]], message: str
) -> None:
    with ToldEngine(lambda _: outputs) as engine, pytest.raises(EngineRunError, match=message):
        engine.infer(ONE)


def test_what_a_runtime_raises_becomes_a_run_error_with_its_cause() -> None:
    def fail(_: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        raise OSError("device lost")

    with ToldEngine(fail) as engine:
        with pytest.raises(EngineRunError, match="onnxruntime failed to run: device lost") as caught:
            engine.infer(ONE)
        assert isinstance(caught.value.__cause__, OSError)
        engine.answer = lambda tensors: {"y": tensors["x"]}
        np.testing.assert_array_equal(engine.infer(ONE)["y"], ONE["x"])


def test_an_adapters_own_errors_pass_unwrapped() -> None:
    def refuse(_: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        raise EngineInputError("batch too large")

    with ToldEngine(refuse) as engine, pytest.raises(EngineInputError, match="batch too large"):
        engine.infer(ONE)


def test_the_hook_gets_contiguous_arrays_in_the_models_order() -> None:
    seen: list[dict[str, NDArray[Any]]] = []

    def look(tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        seen.append(tensors)
        return {"y": tensors["x"].copy()}

    with ToldEngine(look) as engine:
        engine.infer({"x": np.ones((3, 4), np.float32).T[:, :3]})
    assert seen[0]["x"].flags.c_contiguous


def test_close_waits_for_the_call_that_is_under_way() -> None:
    entered, release = threading.Event(), threading.Event()

    def wait(tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        entered.set()
        assert release.wait(10)
        return {"y": tensors["x"]}

    engine = ToldEngine(wait)
    results: list[dict[str, NDArray[Any]]] = []
    caller = threading.Thread(target=lambda: results.append(engine.infer(ONE)))
    caller.start()
    assert entered.wait(10)
    closer = threading.Thread(target=engine.close)
    closer.start()
    while not engine._closed:  # the closer has the word, but must not free yet
        pass
    assert engine.closed == 0
    with pytest.raises(EngineClosedError):
        engine.infer(ONE)
    release.set()
    caller.join(10)
    closer.join(10)
    assert engine.closed == 1
    assert len(results) == 1


def test_a_failed_call_does_not_hold_close_up() -> None:
    engine = ToldEngine(lambda _: {})
    with pytest.raises(EngineRunError):
        engine.infer(ONE)
    engine.close()
    engine.close()
    assert engine.closed == 1
