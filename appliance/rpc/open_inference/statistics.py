"""How often and how long: counters of each model since the start."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from appliance.pb import open_inference_pb2 as pb
from appliance.rpc.open_inference.model import SERVED_VERSION, Outcome

MAX_MODELS = 256
"""Versions come and go with updates; beyond this the one that has been silent longest is dropped."""


@dataclass
class Duration:
    """A count and a sum of times."""

    count: int = 0
    total_ns: int = 0

    def add(self, ns: int) -> None:
        """Count one."""
        self.count += 1
        self.total_ns += ns

    def write(self) -> pb.StatisticDuration:
        """As a message."""
        return pb.StatisticDuration(count=self.count, ns=self.total_ns)


@dataclass
class Batch:
    """Times of one batch size."""

    read: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    write: Duration = field(default_factory=Duration)


@dataclass
class Counters:
    """All of one model."""

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    read: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    write: Duration = field(default_factory=Duration)
    cache_hit: Duration = field(default_factory=Duration)
    cache_miss: Duration = field(default_factory=Duration)
    inferences: int = 0
    executions: float = 0.0  # engine calls: one that is shared by three requests counts a third for each
    last_ms: int = 0
    batches: dict[int, Batch] = field(default_factory=dict)


class StatisticsTable:
    """Counters by name and version."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[tuple[str, str], Counters] = {}

    def answered(self, name: str, outcome: Outcome, read_ns: int, write_ns: int, total_ns: int) -> None:
        """A request was answered; times of reading and writing its tensors, and of all of it."""
        with self._lock:
            counters = self._counters(name, outcome.version)
            counters.success.add(total_ns)
            if outcome.repeated:
                counters.last_ms = time.time_ns() // 1_000_000
                counters.cache_hit.add(total_ns)
                return
            if outcome.repeated is False:
                counters.cache_miss.add(total_ns)
            counters.queue.add(outcome.queue_ns)
            counters.inferences += outcome.inferences
            counters.executions += 1 / outcome.shared_by
            counters.last_ms = time.time_ns() // 1_000_000
            batch = counters.batches.setdefault(outcome.inferences, Batch())
            for times in (counters, batch):
                times.read.add(read_ns + outcome.read_ns)
                times.infer.add(outcome.infer_ns)
                times.write.add(write_ns)

    def failed(self, name: str, version: str, total_ns: int) -> None:
        """A request to a known model failed."""
        with self._lock:
            self._counters(name, version).fail.add(total_ns)

    def write(self, name: str, version: str) -> pb.ModelStatistics:
        """The counters of a model; zeros where nobody has asked it yet."""
        with self._lock:
            counters = self._models.get((name, version), Counters())
            return pb.ModelStatistics(
                name=name,
                version=SERVED_VERSION,
                last_inference=counters.last_ms,
                inference_count=counters.inferences,
                execution_count=round(counters.executions),
                inference_stats=pb.InferStatistics(
                    success=counters.success.write(),
                    fail=counters.fail.write(),
                    queue=counters.queue.write(),
                    compute_input=counters.read.write(),
                    compute_infer=counters.infer.write(),
                    compute_output=counters.write.write(),
                    cache_hit=counters.cache_hit.write(),
                    cache_miss=counters.cache_miss.write(),
                ),
                batch_stats=[
                    pb.InferBatchStatistics(
                        batch_size=size,
                        compute_input=batch.read.write(),
                        compute_infer=batch.infer.write(),
                        compute_output=batch.write.write(),
                    )
                    for size, batch in sorted(counters.batches.items())
                ],
            )

    def _counters(self, name: str, version: str) -> Counters:
        key = (name, version)
        counters = self._models.pop(key, None) or Counters()
        self._models[key] = counters  # the last one in the order of insertion
        if len(self._models) > MAX_MODELS:
            del self._models[next(iter(self._models))]
        return counters
