"""One stage as it runs: engine calls through it are counted, timed and checked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import StageReport
from appliance.errors import InferenceFailed
from appliance.inference.request import Inference, ModelIdentity, RequestContext
from appliance.models.manifest import Role


class Engines(Protocol):
    """What the cascade needs of `InferenceService`."""

    def infer(self, role: Role, tensors: Mapping[str, NDArray[Any]], context: RequestContext) -> Inference:
        """Run the model of `role` and give its outputs by name."""
        ...


class Stage:
    """Measures one stage of one request from its construction to `report`.

    Args:
        name: of the stage, as in `StageReport.stage`.
        engines: answers the calls.
        context: the caller's patience, checked before every call.

    Raises:
        DeadlineExceeded, Cancelled: nobody waits any more.
    """

    def __init__(self, name: str, engines: Engines, context: RequestContext) -> None:
        context.check()
        self._name = name
        self._engines = engines
        self._context = context
        self._began_s = time.perf_counter()
        self._engine_ms = 0.0
        self._calls = 0
        self._model: ModelIdentity | None = None

    def infer(self, role: Role, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Call an engine.

        Raises:
            InferenceFailed: if an output holds NaN or infinity; as a number it would read as "nothing found".
        """
        self._context.check()
        answer = self._engines.infer(role, tensors, self._context)
        self._engine_ms += answer.engine_ms
        self._calls += 1
        self._model = answer.model
        for name, output in answer.outputs.items():
            if not np.isfinite(output).all():
                raise InferenceFailed(
                    f"expected finite numbers in output {name} of {role.value} and got NaN or infinity"
                )
        return answer.outputs

    @property
    def model(self) -> ModelIdentity | None:
        """The model that answered last."""
        return self._model

    def report(self) -> StageReport:
        """The stage as it ran up to now."""
        time_ms = (time.perf_counter() - self._began_s) * 1000.0
        if self._model is None:
            return StageReport(stage=self._name, time_ms=time_ms)
        model = self._model
        return StageReport(
            stage=self._name,
            time_ms=time_ms,
            engine_ms=self._engine_ms,
            calls=self._calls,
            model_name=model.name,
            model_version=model.version,
            contract_hash=model.contract_hash,
            engine=model.engine,
            device=model.device,
            precision=model.precision,
        )
