from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from appliance.pb.analysis_pb2 import PRIORITY_BATCH, Priority, StageReport
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


def test_the_batch_job_keeps_all_its_callers_busy_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority, "SATURATED_S", 0.0)
    together = threading.Barrier(3)
    asked: list[Priority.ValueType] = []

    def ask(level: Priority.ValueType) -> Sequence[StageReport]:
        asked.append(level)
        together.wait(10.0)
        job.stop()
        return ()

    job = BatchJob(ask, 3, PRIORITY_BATCH)
    with job:
        pass
    assert job.answered == 3
    assert asked == [PRIORITY_BATCH] * 3
    assert job.seconds > 0
