"""Which services can answer, from the state of the models and the storage: what grpc.health.v1 tells."""

from __future__ import annotations

from appliance.models.manifest import Role
from appliance.models.registry import ModelState
from appliance.service import CheckupStatus

OVERALL = ""
"""The name under which grpc.health.v1 tells about the whole server."""

KARYOTYPE = "appliance.v1.KaryotypeService"
CHEST_XRAY = "appliance.v1.ChestXrayService"
RESULT = "appliance.v1.ResultService"
CASE = "appliance.v1.CaseService"
REVIEW = "appliance.v1.ReviewService"
APPLIANCE = "appliance.v1.ApplianceService"
OPEN_INFERENCE = "inference.GRPCInferenceService"
ROLES = {
    KARYOTYPE: frozenset({Role.KARYOTYPE_SEGMENTER, Role.KARYOTYPE_DETECTOR, Role.KARYOTYPE_CLASSIFIER}),
    CHEST_XRAY: frozenset({Role.CHEST_XRAY_DETECTOR}),
}
"""The models that a service needs; an answer also needs the storage."""


def serving(status: CheckupStatus) -> frozenset[str]:
    """Names of the services that can answer now; the whole server only if all of them can.

    The Open Inference Protocol has a word of its own for each model (ModelReady), so its service tells about
    all of them together.
    """
    names = {APPLIANCE}
    if status.store is not None:
        names |= {RESULT, CASE, REVIEW}
        ready = {model.role for model, _load in status.models if model.state is ModelState.READY}
        names |= {name for name, roles in ROLES.items() if roles <= ready}
    everything = {OVERALL, OPEN_INFERENCE}
    return frozenset(names | everything) if names >= {RESULT, *ROLES} else frozenset(names)
