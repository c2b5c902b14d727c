"""Calls about model releases as plain methods."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.client.connection import QUICK_S, ApplianceClient, call_errors
from appliance.pb import appliance_pb2, appliance_pb2_grpc

SLOW_S = 600.0
"""For calls that open an engine or read back all bundles."""


class ModelsClient:
    """Releases over a channel to a daemon.

    Args:
        client: has the channel.
    """

    def __init__(self, client: ApplianceClient) -> None:
        self._address = client.address
        self._appliance = appliance_pb2_grpc.ApplianceServiceStub(client.channel)

    def install(
        self, request: appliance_pb2.InstallModelsRequest
    ) -> Iterator[appliance_pb2.InstallModelsResponse]:
        """Install releases: a message for each step, at last the outcome; CallError with the reason if
        refused.
        """
        with call_errors(self._address):
            yield from self._appliance.InstallModels(request)

    def cancel(self) -> bool:
        """Stop the install under way; False where none runs."""
        with call_errors(self._address):
            return self._appliance.CancelInstall(
                appliance_pb2.CancelInstallRequest(), timeout=QUICK_S
            ).cancelled

    def activate(self, role: str, requested_by: str) -> appliance_pb2.ModelInstall:
        """Let a release that passed the gate take over."""
        request = appliance_pb2.ActivateModelRequest(role=role, requested_by=requested_by)
        with call_errors(self._address):
            return self._appliance.ActivateModel(request, timeout=SLOW_S).install

    def roll_back(self, role: str, requested_by: str) -> appliance_pb2.InstalledModel:
        """Let the model before serve again."""
        request = appliance_pb2.RollBackModelRequest(role=role, requested_by=requested_by)
        with call_errors(self._address):
            return self._appliance.RollBackModel(request, timeout=SLOW_S).model

    def installed(self) -> appliance_pb2.ListInstalledModelsResponse:
        """What is installed for each role."""
        with call_errors(self._address):
            return self._appliance.ListInstalledModels(
                appliance_pb2.ListInstalledModelsRequest(), timeout=QUICK_S
            )

    def verify(self) -> appliance_pb2.VerifyModelsResponse:
        """Read back every stored bundle and record."""
        with call_errors(self._address):
            return self._appliance.VerifyModels(appliance_pb2.VerifyModelsRequest(), timeout=SLOW_S)

    def history(self, limit: int) -> appliance_pb2.ListModelHistoryResponse:
        """What happened to the models, newest first."""
        request = appliance_pb2.ListModelHistoryRequest(limit=limit)
        with call_errors(self._address):
            return self._appliance.ListModelHistory(request, timeout=QUICK_S)

    def evidence(self, evidence_id: str) -> str:
        """A signed report of the gate, JSON."""
        request = appliance_pb2.GetModelEvidenceRequest(evidence_id=evidence_id)
        with call_errors(self._address):
            return self._appliance.GetModelEvidence(request, timeout=QUICK_S).json
