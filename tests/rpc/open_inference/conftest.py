"""A daemon in a process of its own, with packs of a few nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from appliance.client import ApplianceClient, LocalDaemon
from appliance.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub
from tests.simulators.contract_packs import write_packs

MAX_STREAMS = 3
MAX_REGIONS = 6
MESSAGE_BYTES = 256 << 20


@pytest.fixture(scope="package")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalDaemon]:
    folder = tmp_path_factory.mktemp("packs")
    settings = folder / "appliance.toml"
    settings.write_text(
        f'[models]\ndirectory = "{write_packs(folder / "packs")}"\n'
        f"[server]\nmax_streams = {MAX_STREAMS}\n"
        f"[shared_memory]\nmax_regions = {MAX_REGIONS}\nmax_mib = 16\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        with (
            LocalDaemon(("--config", str(settings))) as daemon,
            ApplianceClient(daemon.address) as client,
        ):
            status = daemon.wait_until_started(client)
            assert status.ready, list(status.problems)
            yield daemon


@pytest.fixture(scope="package")
def channel(daemon: LocalDaemon) -> Iterator[grpc.Channel]:
    options = [
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_send_message_length", MESSAGE_BYTES),
    ]
    with grpc.insecure_channel(daemon.address, options=options) as channel:
        yield channel


@pytest.fixture(scope="package")
def stub(channel: grpc.Channel) -> GRPCInferenceServiceStub:
    return GRPCInferenceServiceStub(channel)


@pytest.fixture
def memory_object() -> Iterator[Path]:
    """A file among the shared memory objects, gone after the test."""
    import secrets

    path = Path("/dev/shm") / f"appliance-test-{secrets.token_hex(4)}"
    path.touch(0o600)
    yield path
    path.unlink(missing_ok=True)
