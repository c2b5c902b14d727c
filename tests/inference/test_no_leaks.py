"""Many callers who hang up, run late, ask for rubbish or are refused: afterwards every place is free."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.clock import Deadline
from appliance.errors import ApplianceError
from appliance.inference import (
    Admission,
    InferenceService,
    ModelIdentity,
    Priority,
    QueueRules,
    RequestContext,
)
from appliance.models.manifest import Role
from engines import TensorSpec

CALLERS = 24
CALLS = 25
ROLES = (Role.KARYOTYPE_CLASSIFIER, Role.KARYOTYPE_DETECTOR)


class Moody:
    """Takes a moment; fails on negative numbers."""

    inputs = (TensorSpec("x", "FP64", (-1,)),)
    outputs = (TensorSpec("y", "FP64", (-1,)),)

    def __init__(self) -> None:
        self._moment = threading.Event()

    def infer(self, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self._moment.wait(0.001)
        if tensors["x"].min() < 0:
            raise RuntimeError("negative")
        return {"y": 2 * tensors["x"]}


@dataclass(frozen=True)
class Lease:
    identity: ModelIdentity
    engine: Moody


class Models:
    def __init__(self) -> None:
        self._engine = Moody()

    @contextmanager
    def acquire(self, role: Role) -> Iterator[Lease]:
        yield Lease(ModelIdentity("moody", "1", role, "0" * 64, "numpy", "CPU", "FP64"), self._engine)


def test_every_place_is_free_after_a_storm() -> None:
    admission = Admission(3, QueueRules(6, passed_over_s=0.02))
    with InferenceService(Models(), QueueRules(3, 0.02, 4, 0.001), 2, admission) as service:
        with ThreadPoolExecutor(CALLERS) as pool:
            ends = sum(pool.map(lambda seed: _caller(seed, service, admission), range(CALLERS)), Counter())
        assert ends.total() == CALLERS * CALLS
        assert {"answered", "Cancelled", "DeadlineExceeded", "InferenceFailed", "LimitExceeded"} <= set(ends)
        assert admission.waiting == 0
        assert admission.least is Priority.BACKGROUND
        assert all(service.load(role).queued == 0 for role in ROLES)
        with ExitStack() as places:  # all of them, without waiting
            for _ in range(3):
                places.enter_context(admission.enter(RequestContext(Deadline.after(10.0))))
        answer = service.infer(ROLES[0], {"x": np.array([21.0])}, RequestContext(Deadline.after(10.0)))
        assert answer.outputs["y"].tolist() == [42.0]


def _caller(seed: int, service: InferenceService, admission: Admission) -> Counter[str]:
    dice = random.Random(seed)
    ends: Counter[str] = Counter()
    for number in range(CALLS):
        patience_s = dice.choice([0.0, 0.002, 0.01, 10.0, 10.0])
        context = RequestContext(
            Deadline.after(patience_s), priority=dice.choice(list(Priority)), caller=str(seed % 5)
        )
        hang_up = threading.Timer(dice.uniform(0.0, 0.01), context.cancelled.set)
        if dice.random() < 0.3:
            hang_up.start()
        value = float(number) if dice.random() < 0.9 else -1.0
        tensors = {"x": np.full(dice.randint(1, 3), value)}
        try:
            if dice.random() < 0.5:
                with admission.enter(context):
                    answer = service.infer(dice.choice(ROLES), tensors, context)
            else:
                answer = service.infer(dice.choice(ROLES), tensors, context)
            assert answer.outputs["y"].tolist() == (2 * tensors["x"]).tolist()
            ends["answered"] += 1
        except ApplianceError as error:
            ends[type(error).__name__] += 1
        finally:
            hang_up.cancel()
    return ends
