"""`appliance token`, and a caller who shows one to a real daemon."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from appliance.cli import main
from appliance.client import ApplianceClient, CallError, LocalDaemon
from appliance.client.credentials import read_token
from appliance.errors import ConfigurationError
from appliance.pb import open_inference_pb2 as pb
from appliance.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub

WAIT_S = 60.0


def run(*words: str) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": "160"}).invoke(main, list(words))
    return result.exit_code, result.output


def test_made_listed_removed(tmp_path: Path) -> None:
    state = ("--state-dir", str(tmp_path / "state"))
    assert run("token", "list", *state) == (0, "There are no tokens.\n")
    code, token = run("token", "add", "central", "--role", "ops", "--role", "technician", *state)
    assert (code, len(token.strip())) == (0, 43)
    code, words = run("token", "list", *state)
    assert "central" in words
    assert "ops, technician" in words
    assert token.strip() not in words
    code, words = run("token", "add", "central", "--role", "ops", *state)
    assert (code, "exists already" in words) == (1, True)
    assert run("token", "remove", "central", *state) == (0, "central is removed.\n")
    code, words = run("token", "remove", "central", *state)
    assert (code, "expected the name of a token" in words) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        ("Name", "--role", "ops"),
        ("a b", "--role", "ops"),
        ("", "--role", "ops"),
        ("x" * 65, "--role", "ops"),
        ("without-a-role",),
        ("a", "--role", "king"),
    ],
)
def test_what_is_no_name_or_role(tmp_path: Path, words: tuple[str, ...]) -> None:
    code, _ = run("token", "add", *words, "--state-dir", str(tmp_path))
    assert code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_token_opens_what_the_address_does_not(daemon: LocalDaemon, tmp_path: Path) -> None:
    socket = Path(daemon.address.removeprefix("unix:"))
    state = ("--state-dir", str(socket.parent))
    _, token = run("token", "add", "central", "--role", "ops", *state)
    metadata = (("authorization", f"Bearer {token.strip()}"),)
    with grpc.insecure_channel(daemon.address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        name = "karyotype-classifier"
        with pytest.raises(grpc.RpcError, match="expected a caller of role ops"):
            stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=name), timeout=WAIT_S)
        stub.RepositoryModelUnload(
            pb.RepositoryModelUnloadRequest(model_name=name), timeout=WAIT_S, metadata=metadata
        )
        assert not stub.ModelReady(pb.ModelReadyRequest(name=name), timeout=WAIT_S).ready
        code, words = run("status", "--server", daemon.address)
        assert "taken out of service by token central" in " ".join(words.split())
        changed = pb.RepositoryModelLoadRequest(model_name=name)
        changed.parameters["config"].string_param = "{}"
        with pytest.raises(grpc.RpcError, match="signed updates"):
            stub.RepositoryModelLoad(changed, timeout=WAIT_S, metadata=metadata)
        stub.RepositoryModelLoad(
            pb.RepositoryModelLoadRequest(model_name=name), timeout=WAIT_S, metadata=metadata
        )
        assert stub.ModelReady(pb.ModelReadyRequest(name=name), timeout=WAIT_S).ready
    with ApplianceClient(daemon.address, token.strip()) as client:
        assert client.self_test(WAIT_S).passed
        with pytest.raises(CallError) as refused:
            next(client.results())
        assert (refused.value.status, refused.value.kind) == ("PERMISSION_DENIED", "NOT_ALLOWED")
    kept = tmp_path / "token"
    kept.write_text(token)
    kept.chmod(0o600)
    code, words = run("results", "list", "--server", daemon.address, "--token-file", str(kept))
    assert (code, "expected a caller of role device or reviewer and got ops" in words) == (1, True)
    run("token", "remove", "central", *state)
    code, words = run("status", "--server", daemon.address, "--token-file", str(kept))
    assert (code, "a token of this box" in words) == (1, True)


def test_a_token_file_is_private_and_holds_a_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_token(path)
    path.write_text("abc\n")
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="nobody else may read"):
        read_token(path)
    path.chmod(0o600)
    assert read_token(path) == "abc"
    for wrong in (b"", b"two words", b"\xff", b"x" * 600):
        path.write_bytes(wrong)
        with pytest.raises(ConfigurationError, match="expected a token in"):
            read_token(path)
