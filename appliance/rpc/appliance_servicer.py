"""ApplianceService: is the box well, what runs on it."""

from __future__ import annotations

import grpc

from appliance import RESEARCH_USE_ONLY, __version__
from appliance.inference import LaneLoad
from appliance.models.registry import ModelState, ModelStatus
from appliance.pb import appliance_pb2, appliance_pb2_grpc
from appliance.results import StoreStatus
from appliance.rpc.edge import Edge
from appliance.rpc.writing import write_time
from appliance.service import Checkup, CheckupStatus
from engines import DeviceProbe

MODEL_STATES = {state: appliance_pb2.ModelState.Value(f"MODEL_STATE_{state.name}") for state in ModelState}


class ApplianceServicer(appliance_pb2_grpc.ApplianceServiceServicer):
    """Tells how the box is."""

    def __init__(self, edge: Edge, checkup: Checkup) -> None:
        self._edge = edge
        self._checkup = checkup

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
