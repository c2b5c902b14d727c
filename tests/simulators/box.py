"""A box without a server: store, registry, gate and watch over a state directory, and engines of one
matrix.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from appliance.bundles.durable import DurableFiles
from appliance.clock import ManualClock
from appliance.config import Config, ReleasesConfig
from appliance.errors import ApplianceError, ModelUnavailable, ReleaseRefused
from appliance.models.pack import ModelPack
from appliance.models.registry import ModelRegistry
from appliance.updates.assembly import model_updates
from appliance.updates.exam import Exam
from appliance.updates.live import LiveTraffic
from appliance.updates.request import InstallEvent, InstallRequest
from appliance.updates.trial import Trial, describe, run_trial
from engines.errors import EngineError
from tests.simulators.linear import ROLE, LinearEngine, exam_arrays, linear_contract, read_graph
from tests.simulators.releases import NOW_MS


class HereTrials:
    """The second implementation of `Trials`: in this process, with engines of numpy; a graph may slow or
    bloat it.
    """

    def compile(self, pack: Path, cancelled: threading.Event) -> str:
        del cancelled
        try:
            with LinearEngine(ModelPack.open(pack).model_path) as engine:
                return describe(engine)
        except EngineError as exc:
            raise ReleaseRefused(f"the engine could not be built on this box: {exc}") from exc

    def run(self, pack: Path, exams: Mapping[str, Path], cancelled: threading.Event) -> Trial:
        del cancelled
        opened = ModelPack.open(pack)
        _weights, tree = read_graph(opened.model_path)
        try:
            trial = run_trial(
                opened,
                LinearEngine,
                {name: Exam.read(path) for name, path in exams.items()},
                LinearEngine,
            )
        except (EngineError, ApplianceError) as exc:
            return Trial(fault=str(exc))
        return replace(
            trial,
            latency_ms=(float(tree.get("latency_ms", 5.0)),) * 5,
            memory_mib=float(tree.get("memory_mib", 20.0)),
            parity=(float(tree.get("parity", 0.999)),),
        )


class SimulatedBox:
    """A box with one role, over a state directory that outlives it; made anew it is a start of the daemon."""

    def __init__(
        self,
        state: Path,
        root: Path,
        factory: Path,
        exams: Path,
        files: DurableFiles | None = None,
        clock: ManualClock | None = None,
        **settings: Any,
    ) -> None:
        self.state = state
        self.clock = clock or ManualClock(NOW_MS)
        self.config = Config(
            state_dir=state,
            releases=ReleasesConfig(**({"root": root, "spare_mib": 0, "attempts": 1} | settings)),
        )
        self.models = ModelRegistry(
            LinearEngine, {ROLE: frozenset({linear_contract()})}, drain_timeout_s=5.0, warm_up_batch=2
        )
        self.live = LiveTraffic(self.models, self.clock.monotonic_s)
        self.updates = model_updates(
            self.config,
            self.models,
            self.live,
            lambda role: factory if role is ROLE else None,
            self.clock,
            files,
            HereTrials(),
            exams,
        )

    def start(self, carry_on: bool = True) -> SimulatedBox:
        """As the daemon starts: load, stand in, carry on; without the background thread."""
        self.models.load(self.updates.directories(), parallel=1)
        self.updates.begin(watch=False)
        if carry_on:
            self.updates.carry_on()
        return self

    def install(self, source: Path, **changes: Any) -> tuple[str, ...]:
        """Install what a folder offers; the states in which the installs are."""
        events: list[InstallEvent] = []
        request = InstallRequest(str(source), "tester", **changes)
        return tuple(one.state.value for one in self.updates.install(request, events.append))

    def serve(self, requests: int = 1) -> str:
        """Let requests through as the dispatcher does; the version that answers, checked to answer well."""
        crops = exam_arrays(12, 3)
        tensors = {"crops": (crops["crops"].astype(np.float32) / 200.0)[:, None]}
        version = ""
        for _ in range(requests):
            with self.models.acquire(ROLE) as lease:
                version = lease.identity.version
                try:
                    outputs = lease.engine.infer(tensors)
                except EngineError:
                    self.live.failed(ROLE, lease.identity)
                    continue
            self.live.answered(ROLE, lease.identity, tensors, outputs, 5.0)
            self.live.compare_one(ROLE)
        return version

    def answers_well(self) -> bool:
        """Whether the model that serves classifies the exam's crops."""
        arrays = exam_arrays(48, 11)
        tensors = {"crops": (arrays["crops"].astype(np.float32) / 200.0)[:, None]}
        try:
            with self.models.acquire(ROLE) as lease:
                found = lease.engine.infer(tensors)["class_logits"].argmax(axis=1)
        except (ModelUnavailable, EngineError):
            return False
        return bool((found == arrays["labels"]).mean() > 0.95)

    @property
    def version(self) -> str:
        identity = self.models.status(ROLE).identity
        return identity.version if identity is not None else ""

    def close(self) -> None:
        self.updates.stop()
        self.models.close()
