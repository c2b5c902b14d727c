"""Is the box well, and if not, why: what a technician asks, in sentences."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from appliance.clock import Clock
from appliance.errors import ApplianceError, StorageUnavailable
from appliance.inference import InferenceService, LaneLoad
from appliance.models.golden import check_golden
from appliance.models.manifest import Role
from appliance.models.registry import ModelRegistry, ModelState, ModelStatus
from appliance.results import ResultStore, StoreStatus
from engines import DeviceProbe


@dataclass(frozen=True)
class CheckupStatus:
    """The state of the box at one moment."""

    started_ms: int  # Unix time in milliseconds
    models: tuple[tuple[ModelStatus, LaneLoad], ...]
    store: StoreStatus | None  # None where the database does not answer
    probe: DeviceProbe
    problems: tuple[str, ...]  # for a person; empty when all is well
    starting: bool  # models are being loaded for the first time

    @property
    def ready(self) -> bool:
        """Every model answers and results can be stored."""
        return self.store is not None and all(model.state is ModelState.READY for model, _load in self.models)


@dataclass(frozen=True)
class SelfTestCheck:
    """One check of the self-test."""

    name: str
    passed: bool
    detail: str
    time_ms: float


class Checkup:
    """Looks at every part of the daemon.

    Args:
        models, inference, store: the parts.
        probe: what was found out about the inference runtimes at the start.
        clock: dates the start.
    """

    def __init__(
        self,
        models: ModelRegistry,
        inference: InferenceService,
        store: ResultStore,
        probe: DeviceProbe,
        clock: Clock,
    ) -> None:
        self._models = models
        self._inference = inference
        self._store = store
        self._probe = probe
        self._started_ms = clock.now_ms()
        self._starting = True

    def start_ended(self) -> None:
        """Every model was tried; from now on a model that does not answer is a problem."""
        self._starting = False

    def status(self) -> CheckupStatus:
        """How everything is now."""
        problems = []
        models = tuple((model, self._inference.load(model.role)) for model in self._models.statuses())
        for model, _load in models:
            if model.state is not ModelState.READY:
                problems.append(f"{model.role.value} is {model.state.value}: {model.reason}")
        store: StoreStatus | None = None
        try:
            store = self._store.status()
        except StorageUnavailable as exc:
            problems.append(str(exc))
        if store is not None and store.quarantined is not None:
            problems.append(
                "the database of results was damaged at the start; a new one was made and the old one put"
                f" aside as {store.quarantined}"
            )
        return CheckupStatus(self._started_ms, models, store, self._probe, tuple(problems), self._starting)

    def self_test(self) -> tuple[SelfTestCheck, ...]:
        """Run every model on its golden cases and write to the storage; takes some seconds."""
        checks = [_check(f"model {role.value}", partial(self._golden, role)) for role in Role]
        checks.append(_check("storage", self._probe_storage))
        return tuple(checks)

    def _golden(self, role: Role) -> tuple[bool, str]:
        with self._models.acquire(role) as lease:
            results = check_golden(lease.pack, lease.engine)
        if not results:
            return False, f"expected golden cases in {lease.identity.name} and got none"
        failed = [result.sentence for result in results if not result.passed]
        worst = min(result.agreement.cosine for result in results)
        return not failed, "; ".join(failed) or (
            f"{lease.identity.name} {lease.identity.version}: {len(results)} outputs as known,"
            f" cosine at least {worst:.4f}"
        )

    def _probe_storage(self) -> tuple[bool, str]:
        self._store.probe()
        status = self._store.status()
        return True, f"{status.results} results, {status.size_bytes} of {status.limit_bytes} bytes"


def _check(name: str, run: Callable[[], tuple[bool, str]]) -> SelfTestCheck:
    began_s = time.perf_counter()
    try:
        passed, detail = run()
    except ApplianceError as exc:
        passed, detail = False, str(exc)
    return SelfTestCheck(name, passed, detail, (time.perf_counter() - began_s) * 1000)
