"""ApplianceService: is the box well, what runs on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc

from appliance import RESEARCH_USE_ONLY, __version__
from appliance.bundles.install_state import Install
from appliance.inference import LaneLoad
from appliance.models.registry import ModelState, ModelStatus
from appliance.pb import appliance_pb2, appliance_pb2_grpc
from appliance.results import StoreStatus
from appliance.rpc.edge import Edge
from appliance.rpc.model_updates import (
    DEFAULT_EVENTS,
    MAX_EVENTS,
    read_install,
    read_person,
    read_role,
    write_install,
    write_installed,
    write_model_event,
    write_step,
)
from appliance.rpc.progress import as_they_end
from appliance.rpc.writing import write_time
from appliance.service import Checkup, CheckupStatus
from appliance.updates.request import InstallEvent
from appliance.updates.service import ModelUpdates
from appliance.updates.watch import log_event
from engines import DeviceProbe

MODEL_STATES = {state: appliance_pb2.ModelState.Value(f"MODEL_STATE_{state.name}") for state in ModelState}


class ApplianceServicer(appliance_pb2_grpc.ApplianceServiceServicer):
    """Tells how the box is."""

    def __init__(self, edge: Edge, checkup: Checkup, updates: ModelUpdates) -> None:
        self._edge = edge
        self._checkup = checkup
        self._updates = updates

    def GetStatus(
        self, request: appliance_pb2.GetStatusRequest, context: grpc.ServicerContext
    ) -> appliance_pb2.GetStatusResponse:
        """Is the box well."""
        with self._edge.call(context):
            return _write_status(self._checkup.status())

    def ListModels(
        self, request: appliance_pb2.ListModelsRequest, context: grpc.ServicerContext
    ) -> appliance_pb2.ListModelsResponse:
        """What is loaded."""
        with self._edge.call(context):
            return appliance_pb2.ListModelsResponse(
                models=[_write_model(model, load) for model, load in self._checkup.status().models]
            )

    def RunSelfTest(
        self, request: appliance_pb2.RunSelfTestRequest, context: grpc.ServicerContext
    ) -> appliance_pb2.RunSelfTestResponse:
        """Models on their golden cases, and the storage."""
        with self._edge.call(context):
            checks = self._checkup.self_test()
            return appliance_pb2.RunSelfTestResponse(
                passed=all(check.passed for check in checks),
                checks=[
                    appliance_pb2.SelfTestCheck(
                        name=check.name, passed=check.passed, detail=check.detail, time_ms=check.time_ms
                    )
                    for check in checks
                ],
            )

    def InstallModels(
        self, request: appliance_pb2.InstallModelsRequest, context: grpc.ServicerContext
    ) -> Iterator[appliance_pb2.InstallModelsResponse]:
        """A message for each step, at last the outcome."""
        with self._edge.call(context, unbounded=True):
            wanted = read_install(request)

            def work(tell: Callable[[InstallEvent], None]) -> tuple[Install, ...]:
                return self._updates.install(wanted, tell)

            for event in as_they_end(work):
                if isinstance(event, InstallEvent):
                    yield appliance_pb2.InstallModelsResponse(step=write_step(event))
                else:
                    outcome = appliance_pb2.InstallOutcome(installs=[write_install(one) for one in event])
                    yield appliance_pb2.InstallModelsResponse(outcome=outcome)

    def CancelInstall(
        self, request: appliance_pb2.CancelInstallRequest, context: grpc.ServicerContext
    ) -> appliance_pb2.CancelInstallResponse:
        """Stop the install under way."""
        with self._edge.call(context):
            return appliance_pb2.CancelInstallResponse(cancelled=self._updates.cancel())

    def ActivateModel(
        self, request: appliance_pb2.ActivateModelRequest, context: grpc.ServicerContext
    ) -> appliance_pb2.ActivateModelResponse:
        """Let a release that passed the gate take over."""
        with self._edge.call(context):
            install = self._updates.activate(
                read_role(request.role), read_person(request.requested_by), log_event
            )
            return appliance_pb2.ActivateModelResponse(install=write_install(install))

    def RollBackModel(
        self, request: appliance_pb2.RollBackModelRequest, context: grpc.ServicerContext
    ) -> appliance_pb2.RollBackModelResponse:
        """Let the model before serve again."""
        with self._edge.call(context):
            model = self._updates.roll_back(
                read_role(request.role), read_person(request.requested_by), log_event
            )
            return appliance_pb2.RollBackModelResponse(model=write_installed(model))

    def ListInstalledModels(
        self, request: appliance_pb2.ListInstalledModelsRequest, context: grpc.ServicerContext
    ) -> appliance_pb2.ListInstalledModelsResponse:
        """What is installed for each role."""
        with self._edge.call(context):
            return appliance_pb2.ListInstalledModelsResponse(
                models=[write_installed(model) for model in self._updates.installed()]
            )

    def VerifyModels(
        self, request: appliance_pb2.VerifyModelsRequest, context: grpc.ServicerContext
    ) -> appliance_pb2.VerifyModelsResponse:
        """Read back every stored bundle and record."""
        with self._edge.call(context):
            checks = self._updates.verify()
            return appliance_pb2.VerifyModelsResponse(
                passed=all(check.passed for check in checks),
                checks=[
                    appliance_pb2.ModelCheck(name=check.name, passed=check.passed, detail=check.detail)
                    for check in checks
                ],
            )

    def ListModelHistory(
        self, request: appliance_pb2.ListModelHistoryRequest, context: grpc.ServicerContext
    ) -> appliance_pb2.ListModelHistoryResponse:
        """What happened to the models."""
        with self._edge.call(context):
            limit = min(request.limit or DEFAULT_EVENTS, MAX_EVENTS)
            return appliance_pb2.ListModelHistoryResponse(
                events=[write_model_event(event) for event in self._updates.history(limit)]
            )

    def GetModelEvidence(
        self, request: appliance_pb2.GetModelEvidenceRequest, context: grpc.ServicerContext
    ) -> appliance_pb2.GetModelEvidenceResponse:
        """A signed report of the gate."""
        with self._edge.call(context):
            text = self._updates.evidence(request.evidence_id)
            return appliance_pb2.GetModelEvidenceResponse(json=text)


def _write_status(status: CheckupStatus) -> appliance_pb2.GetStatusResponse:
    return appliance_pb2.GetStatusResponse(
        version=__version__,
        ready=status.ready,
        problems=status.problems,
        started=write_time(status.started_ms),
        models=[_write_model(model, load) for model, load in status.models],
        storage=_write_store(status.store) if status.store is not None else None,
        engines=_write_probe(status.probe),
        notice=RESEARCH_USE_ONLY,
        starting=status.starting,
    )


def _write_model(model: ModelStatus, load: LaneLoad) -> appliance_pb2.ModelStatus:
    identity = model.identity
    message = appliance_pb2.ModelStatus(
        role=model.role.value,
        state=MODEL_STATES[model.state],
        reason=model.reason,
        queued=load.queued,
        answered=load.answered,
    )
    if identity is not None:
        message.name = identity.name
        message.version = identity.version
        message.contract_hash = identity.contract_hash
        message.engine = identity.engine
        message.device = identity.device
        message.precision = identity.precision
    return message


def _write_store(store: StoreStatus) -> appliance_pb2.StorageStatus:
    return appliance_pb2.StorageStatus(
        results=store.results,
        size_bytes=store.size_bytes,
        limit_bytes=store.limit_bytes,
        quarantined=str(store.quarantined or ""),
    )


def _write_probe(probe: DeviceProbe) -> list[appliance_pb2.EngineStatus]:
    best = probe.usable[0] if probe.usable else None
    return [
        appliance_pb2.EngineStatus(
            kind=candidate.kind.value,
            usable=candidate.unavailable is None,
            detail=candidate.unavailable
            or (
                f"{candidate.device}: the first choice"
                if candidate == best
                else f"{candidate.device}: works too"
            ),
        )
        for candidate in probe.candidates
    ]
