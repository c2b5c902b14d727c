"""Counts what a model on trial does to live requests, and lets the held model see some of them.

The lane's thread only counts and, where nothing waits, copies one request; comparing happens on the caller's
thread of `compare_one`, at background priority: while it is busy, requests go by uncompared.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.errors import ModelUnavailable
from appliance.models.identity import ModelIdentity
from appliance.models.manifest import Role
from appliance.models.registry import ModelRegistry
from appliance.updates.agreement import agreement
from appliance.updates.confirmation import Counts
from engines.errors import EngineError, EngineInputError

Tensors = dict[str, NDArray[Any]]
LATENCIES = 256
"""The newest so many calls count for the percentile."""


@dataclass
class _Watch:
    began_s: float
    serving: ModelIdentity | None  # the model on trial, where it answers; None where it is the held one
    answered: int = 0
    failed: int = 0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))
    compared: int = 0
    agreement_sum: float = 0.0
    waiting: tuple[Tensors, Tensors] | None = None


class LiveTraffic:
    """Watches the roles that have a model on trial.

    Args:
        models: where the held model is leased.
        monotonic_s: the clock.
    """

    def __init__(self, models: ModelRegistry, monotonic_s: Callable[[], float]) -> None:
        self._models = models
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._watches: dict[Role, _Watch] = {}

    def begin(self, role: Role, serving: ModelIdentity | None) -> None:
        """Count from now on.

        Args:
            role: which.
            serving: the model on trial, where it answers; None where it is the held one (shadow).
        """
        with self._lock:
            self._watches[role] = _Watch(self._monotonic_s(), serving)

    def end(self, role: Role) -> None:
        """Stop counting."""
        with self._lock:
            self._watches.pop(role, None)

    def counts(self, role: Role) -> Counts | None:
        """What was seen so far; None where nothing is on trial."""
        with self._lock:
            watch = self._watches.get(role)
            if watch is None:
                return None
            times = list(watch.latencies_ms)
            return Counts(
                answered=watch.answered,
                failed=watch.failed,
                latency_ms_p95=float(np.percentile(times, 95)) if times else 0.0,
                compared=watch.compared,
                agreement=watch.agreement_sum / watch.compared if watch.compared else 1.0,
                elapsed_s=self._monotonic_s() - watch.began_s,
            )

    def answered(
        self, role: Role, identity: ModelIdentity, tensors: Tensors, outputs: Tensors, engine_ms: float
    ) -> None:
        """See `appliance.inference.lane.Observer`."""
        with self._lock:
            watch = self._watches.get(role)
            if watch is None or watch.serving not in (None, identity):
                return
            if watch.serving is not None:
                watch.answered += 1
                watch.latencies_ms.append(engine_ms)
            if watch.waiting is None:
                watch.waiting = _copied(tensors), _copied(outputs)

    def failed(self, role: Role, identity: ModelIdentity) -> None:
        """See `appliance.inference.lane.Observer`."""
        with self._lock:
            watch = self._watches.get(role)
            if watch is not None and watch.serving == identity:
                watch.failed += 1

    def compare_one(self, role: Role) -> bool:
        """Let the held model see the waiting request of a role; False where none waits or none is held."""
        with self._lock:
            watch = self._watches.get(role)
            taken = watch.waiting if watch is not None else None
        if watch is None or taken is None:
            return False
        tensors, outputs = taken
        try:
            with self._models.acquire(role, held=True) as lease:
                other = lease.engine.infer(tensors)
        except ModelUnavailable:
            return False
        except EngineInputError:  # another input shape: the two cannot be compared
            with self._lock:
                watch.waiting = None
            return True
        except EngineError:
            with self._lock:
                watch.waiting = None
                watch.failed += watch.serving is None
            return True
        share = agreement(role, outputs, other)
        with self._lock:
            watch.waiting = None
            watch.compared += 1
            watch.agreement_sum += share
            watch.answered += watch.serving is None
        return True


def _copied(arrays: Tensors) -> Tensors:
    return {name: array.copy() for name, array in arrays.items()}
