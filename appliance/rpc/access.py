"""Which role each call needs; a call that is not in the table is refused to everybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc

from appliance.callers import Caller, CallerRole
from appliance.errors import NotAllowed, NotAuthenticated
from appliance.rpc.edge import Edge
from appliance.rpc.identity import Identities

Roles = frozenset[CallerRole]

OPEN: Final[Roles] = frozenset()
"""For everybody, also without any role: is there life, and what language does it speak."""

KNOWN: Final[Roles] = frozenset(CallerRole)
CLINICAL: Final[Roles] = frozenset((CallerRole.DEVICE, CallerRole.REVIEWER))
EXPERTS: Final[Roles] = frozenset((CallerRole.REVIEWER,))
KEEPERS: Final[Roles] = frozenset((CallerRole.TECHNICIAN, CallerRole.OPS))
OPERATIONS: Final[Roles] = frozenset((CallerRole.OPS,))

_SERVICES: Final[Mapping[str, Mapping[Roles, str]]] = {
    "appliance.v1.KaryotypeService": {CLINICAL: "AnalyzeMetaphase AnalyzeMetaphaseStream"},
    "appliance.v1.ChestXrayService": {CLINICAL: "AnalyzeChestXray"},
    "appliance.v1.ResultService": {CLINICAL: "GetResult ListResults WatchResults"},
    "appliance.v1.CaseService": {CLINICAL: "OpenCase AddSpread CloseCase GetCase ListCases"},
    "appliance.v1.ReviewService": {
        CLINICAL: "GetReview",
        EXPERTS: "SubmitReview",
        KNOWN: "GetFieldAccuracy",
    },
    "appliance.v1.ApplianceService": {
        KNOWN: "GetStatus ListModels ListInstalledModels ListModelHistory GetModelEvidence",
        KEEPERS: "RunSelfTest InstallModels CancelInstall ActivateModel RollBackModel VerifyModels",
    },
    "inference.GRPCInferenceService": {
        OPEN: "ServerLive ServerReady ServerMetadata",
        KNOWN: "ModelReady ModelMetadata ModelConfig ModelStatistics RepositoryIndex TraceSetting LogSettings"
        " CudaSharedMemoryStatus CudaSharedMemoryRegister CudaSharedMemoryUnregister",
        CLINICAL: "ModelInfer ModelStreamInfer SystemSharedMemoryStatus SystemSharedMemoryRegister"
        " SystemSharedMemoryUnregister",
        OPERATIONS: "RepositoryModelLoad RepositoryModelUnload",
    },
    "grpc.health.v1.Health": {OPEN: "Check List Watch"},
    "grpc.reflection.v1alpha.ServerReflection": {OPEN: "ServerReflectionInfo"},
}

RULES: Final[Mapping[str, Roles]] = {
    f"/{service}/{name}": roles
    for service, calls in _SERVICES.items()
    for roles, names in calls.items()
    for name in names.split()
}
"""By the name that gRPC gives a call: the roles of which one is enough."""

_MAKERS: Final = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def check_access(method: str, caller: Caller, rules: Mapping[str, Roles] = RULES) -> None:
    """Let a caller pass, or not.

    Args:
        method: the call, as `/package.Service/Method`.
        caller: who calls.
        rules: which roles each call needs.

    Raises:
        NotAuthenticated: the caller has no role at all: a token is missing.
        NotAllowed: the call needs another role, or there is no rule for it.
    """
    name = method.rpartition("/")[2]
    needed = rules.get(method)
    if needed is None:
        raise NotAllowed(f"{name}: nobody may call this: it has no rule")
    demand(name, caller, needed)


def demand(name: str, caller: Caller, needed: Roles) -> None:
    """Let a caller pass who has one of the roles `needed`, where any are; errors as for `check_access`."""
    if needed == OPEN or needed & caller.roles:
        return
    wanted = " or ".join(sorted(role.value for role in needed))
    if not caller.roles:
        raise NotAuthenticated(
            f'{name}: expected "authorization: Bearer TOKEN" with a token of role {wanted} and got no token'
        )
    held = ", ".join(sorted(role.value for role in caller.roles))
    raise NotAllowed(f"{name}: expected a caller of role {wanted} and got {held}")


class AccessGuard(grpc.ServerInterceptor):
    """Stands before every call, whichever service it belongs to.

    Args:
        edge: ends refused calls with their status.
        identities: tells who calls.
        rules: which roles each call needs.
    """

    def __init__(self, edge: Edge, identities: Identities, rules: Mapping[str, Roles] = RULES) -> None:
        self._edge = edge
        self._identities = identities
        self._rules = rules
        self._guarded: dict[str, tuple[Any, Any]] = {}

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """The handler of a call, behind the check; None, as ever, for a call that is not there."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        before, guarded = self._guarded.get(method, (None, None))
        if before is not handler:
            guarded = self._guard(method, handler)
            self._guarded[method] = handler, guarded  # as many as there are calls
        return guarded

    def _guard(self, method: str, handler: Any) -> Any:
        inner = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

        def guarded(request: Any, context: grpc.ServicerContext) -> Any:
            with self._edge.statuses(context):
                if self._rules.get(method) != OPEN:
                    check_access(method, self._identities.of(context), self._rules)
            return inner(request, context)

        make = _MAKERS[handler.request_streaming, handler.response_streaming]
        return make(guarded, handler.request_deserializer, handler.response_serializer)
