from __future__ import annotations

import queue
from concurrent.futures import CancelledError, Future

import grpc
import pytest

from appliance.pb.analysis_pb2 import PRIORITY_BATCH, Priority
from bench import priority
from bench.priority import BatchJob, Felt, p99


def test_p99_is_the_nearest_rank() -> None:
    assert p99([float(n) for n in range(1, 101)]) == 99.0
    assert p99([float(n) for n in range(1, 201)]) == 198.0
    assert p99([7.0]) == 7.0


def test_the_limit_is_half_as_long_again_and_one_inference() -> None:
    felt = Felt(alone_ms=[100.0] * 50, loaded_ms=[125.0] * 49 + [250.0])
    value, low, high = felt.over_limit(running_ms=100.0)
    assert value == 1.0
    assert low == 0.5
    assert high == 1.0


class Call:
    """One request of the batch job: answered when the test says so, or hung up on."""

    def __init__(self) -> None:
        self._future: Future[None] = Future()

    def answer(self) -> None:
        self._future.set_result(None)

    def cancel(self) -> bool:
        return self._future.cancel()

    def result(self) -> None:
        try:
            self._future.result(10.0)
        except CancelledError as exc:
            raise grpc.FutureCancelledError from exc


def test_the_batch_job_keeps_all_its_callers_busy_counts_and_hangs_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(priority, "SATURATED_S", 0.0)
    begun: queue.SimpleQueue[Call] = queue.SimpleQueue()

    def begin(level: Priority.ValueType) -> Call:
        assert level == PRIORITY_BATCH
        begun.put(call := Call())
        return call

    job = BatchJob(begin, 3, PRIORITY_BATCH)
    with job:
        first = [begun.get(timeout=10.0) for _ in range(3)]
        for call in first[:2]:
            call.answer()
        for _ in range(2):  # who was answered asks again
            begun.get(timeout=10.0)
    assert job.answered == 2
    assert job.seconds > 0
