"""Who may call what: every call has a rule, one without is refused, and roles come from where they may."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from appliance.callers import Caller, CallerRole, TokenFile
from appliance.errors import NotAllowed, NotAuthenticated
from appliance.pb import appliance_pb2, open_inference_pb2
from appliance.pb.appliance_pb2_grpc import ApplianceServiceStub
from appliance.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub
from appliance.rpc import access
from appliance.rpc.access import OPEN, RULES, check_access
from appliance.rpc.identity import LOCAL_SOCKET, Identities, read_peer
from appliance.rpc.server import SERVICE_NAMES
from tests.simulators.appliance import Bench

WAIT_S = 30.0
SERVED = (*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME)
METHODS = [
    f"/{service}/{method.name}"
    for service in SERVED
    for method in descriptor_pool.Default().FindServiceByName(service).methods
]
UNLOAD = "/inference.GRPCInferenceService/RepositoryModelUnload"


def caller(*roles: CallerRole) -> Caller:
    return Caller("somebody", frozenset(roles))


@pytest.mark.parametrize("method", METHODS)
def test_every_call_has_a_rule(method: str) -> None:
    assert method in RULES, "give it a role in appliance/rpc/access.py"
    if RULES[method] == OPEN:
        check_access(method, caller())
        return
    with pytest.raises(NotAuthenticated):
        check_access(method, caller())
    for role in CallerRole:
        if role in RULES[method]:
            check_access(method, caller(role))
        else:
            with pytest.raises(NotAllowed, match=f"and got {role.value}"):
                check_access(method, caller(role))


def test_every_rule_is_about_a_call_that_is_there() -> None:
    assert set(RULES) <= set(METHODS)


def test_only_signs_of_life_are_open() -> None:
    names = {method.rpartition("/")[2] for method in METHODS if RULES[method] == OPEN}
    assert names <= {"ServerLive", "ServerReady", "ServerMetadata"} | {
        "Check", "List", "Watch", "ServerReflectionInfo",
    }  # fmt: skip


def test_models_go_in_and_out_by_operations_alone() -> None:
    assert RULES[UNLOAD] == {CallerRole.OPS}
    assert RULES[UNLOAD.replace("Unload", "Load")] == {CallerRole.OPS}


def test_a_call_without_a_rule_is_refused_to_everybody() -> None:
    with pytest.raises(NotAllowed, match="nobody may call this"):
        check_access("/appliance.v1.ApplianceService/Forgotten", caller(*CallerRole))


@pytest.mark.parametrize(
    ("peer", "host", "local"),
    [
        ("unix:", LOCAL_SOCKET, True),
        ("unix:/run/a.sock", LOCAL_SOCKET, True),
        ("ipv4:127.0.0.1:4711", "127.0.0.1", True),
        ("ipv4:127.8.8.8:1", "127.8.8.8", True),
        ("ipv6:%5B::1%5D:4711", "::1", True),
        ("ipv6:[::1]:4711", "::1", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:9", "127.0.0.1", True),
        ("ipv6:%5B::ffff:10.0.0.1%5D:9", "10.0.0.1", False),
        ("ipv6:%5Bfe80::1%25eth0%5D:9", "fe80::1", False),
        ("ipv4:192.168.1.20:4711", "192.168.1.20", False),
        ("vsock:2:4711", "vsock:2:4711", False),
        ("", "", False),
        ("ipv4:nonsense", "ipv4:nonsense", False),
    ],
)
def test_where_a_caller_sits(peer: str, host: str, local: bool) -> None:
    assert read_peer(peer) == (host, local)


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens.json")


def test_a_token_goes_before_the_address(tokens: TokenFile) -> None:
    token = tokens.add("central", frozenset((CallerRole.OPS,)))
    identities = Identities(tokens, [CallerRole.DEVICE], [])
    for peer in ("unix:", "ipv4:10.0.0.1:5"):
        found = identities.identify([("authorization", f"Bearer {token}")], peer)
        assert found == Caller("token central", frozenset((CallerRole.OPS,)))
    assert identities.identify([("user-agent", "x")], "unix:").roles == {CallerRole.DEVICE}
    assert identities.identify([], "ipv4:10.0.0.1:5") == Caller("10.0.0.1", frozenset())


@pytest.mark.parametrize(
    "values",
    [["Bearer wrong"], ["Basic abc"], [""], ["Bearer"], ["Bearer a", "Bearer b"], ["Bearer " + "a" * 600]],
)
def test_a_wrong_token_is_never_taken_for_none(tokens: TokenFile, values: list[str]) -> None:
    identities = Identities(tokens, CallerRole, CallerRole)
    with pytest.raises(NotAuthenticated) as refused:
        identities.identify([("authorization", value) for value in values], "unix:")
    assert "wrong" not in str(refused.value), "a token is never repeated"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as bench:
        yield bench


def code_of(refused: pytest.ExceptionInfo[grpc.RpcError]) -> str:
    assert isinstance(refused.value, grpc.Call)
    return refused.value.code().name


def test_over_the_wire_each_role_passes_where_it_may(bench: Bench) -> None:
    bench.local_roles = (CallerRole.DEVICE,)
    tokens = TokenFile(bench.folder / "tokens.json")
    ops = (("authorization", f"Bearer {tokens.add('central', frozenset((CallerRole.OPS,)))}"),)
    with grpc.insecure_channel(bench.serve()) as channel:
        stub = GRPCInferenceServiceStub(channel)
        unload = open_inference_pb2.RepositoryModelUnloadRequest(model_name="nobody")
        with pytest.raises(grpc.RpcError) as refused:
            stub.RepositoryModelUnload(unload, timeout=WAIT_S)
        assert code_of(refused) == "PERMISSION_DENIED"
        with pytest.raises(grpc.RpcError) as refused:
            stub.RepositoryModelUnload(unload, timeout=WAIT_S, metadata=ops)
        assert code_of(refused) == "NOT_FOUND"  # it was let in and looked
        with pytest.raises(grpc.RpcError) as refused:
            ApplianceServiceStub(channel).RunSelfTest(appliance_pb2.RunSelfTestRequest(), timeout=WAIT_S)
        assert code_of(refused) == "PERMISSION_DENIED"
        with pytest.raises(grpc.RpcError) as refused:
            list(stub.ModelStreamInfer(iter([]), timeout=WAIT_S, metadata=ops))
        assert code_of(refused) == "PERMISSION_DENIED"
        assert list(stub.ModelStreamInfer(iter([]), timeout=WAIT_S)) == []
        with pytest.raises(grpc.RpcError) as refused:
            stub.RepositoryIndex(
                open_inference_pb2.RepositoryIndexRequest(),
                timeout=WAIT_S,
                metadata=(("authorization", "Bearer x"),),
            )
        assert code_of(refused) == "UNAUTHENTICATED"


def test_without_any_role_there_are_signs_of_life_and_nothing_else(bench: Bench) -> None:
    bench.local_roles = ()
    with grpc.insecure_channel(bench.serve()) as channel:
        stub = GRPCInferenceServiceStub(channel)
        assert stub.ServerLive(open_inference_pb2.ServerLiveRequest(), timeout=WAIT_S).live
        health_stub = health_pb2_grpc.HealthStub(channel)
        assert health_stub.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S).status
        with pytest.raises(grpc.RpcError) as refused:
            ApplianceServiceStub(channel).GetStatus(appliance_pb2.GetStatusRequest(), timeout=WAIT_S)
        assert code_of(refused) == "UNAUTHENTICATED"
        assert "with a token of role" in str(refused.value)


def test_a_forgotten_rule_shuts_the_call_on_a_real_server(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = {method: roles for method, roles in RULES.items() if not method.endswith("/ServerLive")}
    monkeypatch.setattr(access.AccessGuard.__init__, "__defaults__", (rules,))
    with grpc.insecure_channel(bench.serve()) as channel, pytest.raises(grpc.RpcError) as refused:
        GRPCInferenceServiceStub(channel).ServerLive(open_inference_pb2.ServerLiveRequest(), timeout=WAIT_S)
    assert code_of(refused) == "PERMISSION_DENIED"
    assert "nobody may call this: it has no rule" in str(refused.value)


def test_an_unknown_call_is_not_there(bench: Bench) -> None:
    with grpc.insecure_channel(bench.serve()) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/Nothing")
        with pytest.raises(grpc.RpcError) as refused:
            call(b"", timeout=WAIT_S)
    assert code_of(refused) == "UNIMPLEMENTED"
