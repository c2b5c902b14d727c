"""The daemon in this process: real engines on packs of a few nodes, and what it does when a part is wrong."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from appliance.app import Daemon, claim_state_directory, image_limits
from appliance.client import ApplianceClient, CallError
from appliance.config import Config, InferenceConfig, ModelsConfig, ServerConfig
from appliance.errors import ConfigurationError
from appliance.models.factory import pack_directories
from appliance.models.opening import engine_order
from appliance.models.registry import LoadEvent, ModelState
from appliance.pb.chest_xray_pb2 import AnalyzeChestXrayRequest
from appliance.pb.karyotype_pb2 import AnalyzeMetaphaseRequest
from appliance.rpc.readiness import CHEST_XRAY
from appliance.systemd import Notifier
from engines import EngineKind
from tests.simulators.appliance import film_png, spread_png
from tests.simulators.contract_packs import FINDING, write_packs

WAIT_S = 60.0


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_packs(tmp_path_factory.mktemp("packs"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def configure(state: Path, packs: Path, cache: Path) -> Config:
    return Config(
        state_dir=state,
        server=ServerConfig(listen=()),
        models=ModelsConfig(directory=packs),
        inference=InferenceConfig(cache_dir=cache),
    )


def health(address: str, service: str = "") -> int:
    with grpc.insecure_channel(address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        return int(check(health_pb2.HealthCheckRequest(service=service), timeout=WAIT_S).status)


def test_the_whole_daemon(tmp_path: Path, packs: Path, cache: Path) -> None:
    said: list[str] = []
    events: list[LoadEvent] = []
    with Daemon(configure(tmp_path, packs, cache), notifier=Notifier(said.append)) as daemon:
        (address,) = daemon.addresses
        assert address == f"unix:{tmp_path / 'appliance.sock'}"
        with ApplianceClient(address) as client:
            status = client.status()
            assert status.starting
            assert not status.ready
            assert health(address) == health_pb2.HealthCheckResponse.NOT_SERVING
            with pytest.raises(CallError) as refused:
                client.analyze_chest_film(AnalyzeChestXrayRequest(encoded=film_png()), WAIT_S)
            assert (refused.value.status, refused.value.kind) == ("UNAVAILABLE", "MODEL_UNAVAILABLE")
            daemon.load_models(events.append)
            status = client.status()
            assert status.ready
            assert not status.starting
            assert not status.problems
            assert health(address) == health_pb2.HealthCheckResponse.SERVING
            film = client.analyze_chest_film(AnalyzeChestXrayRequest(encoded=film_png()), WAIT_S)
            assert [finding.label for finding in film.film.findings] == [FINDING]
            (detect,) = [stage for stage in film.stages if stage.calls]
            assert detect.model_name == "chest-xray-detector"
            assert detect.contract_hash
            assert detect.engine in {"openvino", "onnxruntime", "tensorrt"}
            spread = client.analyze_metaphase(AnalyzeMetaphaseRequest(encoded=spread_png()), WAIT_S)
            assert spread.spread.count > 8
            assert {model.answered for model in client.status().models} == {1}
            assert client.self_test(WAIT_S).passed
    assert [event.state for event in events].count(ModelState.READY) == 4
    assert said[-2].startswith("READY=1\nSTATUS=4 of 4 models ready")
    assert said[-1] == "STOPPING=1"
    assert not (tmp_path / "results.db-wal").exists()


def test_a_pack_that_is_damaged_leaves_its_role_out(tmp_path: Path, packs: Path, cache: Path) -> None:
    mine = tmp_path / "packs"
    shutil.copytree(packs, mine)
    with (mine / "karyotype-detector" / "model.onnx").open("r+b") as file:
        file.seek(100)
        file.write(b"spoilt")
    with (
        Daemon(configure(tmp_path / "state", mine, cache)) as daemon,
        ApplianceClient(daemon.addresses[0]) as client,
    ):
        daemon.load_models()
        status = client.status()
        assert not status.ready
        assert not status.starting
        (problem,) = status.problems
        assert "karyotype.detector" in problem
        assert "sha256" in problem
        assert health(daemon.addresses[0]) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert health(daemon.addresses[0], CHEST_XRAY) == health_pb2.HealthCheckResponse.SERVING
        assert client.analyze_chest_film(AnalyzeChestXrayRequest(encoded=film_png()), WAIT_S).film.findings
        with pytest.raises(CallError) as refused:
            client.analyze_metaphase(AnalyzeMetaphaseRequest(encoded=spread_png()), WAIT_S)
        assert refused.value.status == "UNAVAILABLE"


def test_a_damaged_database_is_told_in_the_status(tmp_path: Path, packs: Path, cache: Path) -> None:
    (tmp_path / "results.db").write_bytes(b"no database at all" * 1000)
    with Daemon(configure(tmp_path, packs, cache)) as daemon, ApplianceClient(daemon.addresses[0]) as client:
        status = client.status()
        assert "damaged" in " ".join(status.problems)
        assert Path(status.storage.quarantined).parent == tmp_path / "quarantine"


def test_two_daemons_never_share_a_state_directory(tmp_path: Path) -> None:
    with ExitStack() as first:
        claim_state_directory(tmp_path / "state", first)
        with ExitStack() as second, pytest.raises(ConfigurationError, match="another daemon is running"):
            claim_state_directory(tmp_path / "state", second)
    with ExitStack() as third:
        claim_state_directory(tmp_path / "state", third)


def test_a_state_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with ExitStack() as resources, pytest.raises(ConfigurationError, match="cannot use the state directory"):
        claim_state_directory(tmp_path / "file", resources)


def test_where_packs_are_looked_for(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text("{}")
    (tmp_path / "notes").mkdir()
    assert [path.name for path in pack_directories(tmp_path)] == ["a", "b"]
    with pytest.raises(ConfigurationError, match="expected a folder of model packs"):
        pack_directories(tmp_path / "none")


def test_the_engine_that_was_asked_for() -> None:
    assert engine_order(Config())[0] is EngineKind.TENSORRT
    only = Config(inference=InferenceConfig(engine="onnxruntime"))
    assert engine_order(only) == (EngineKind.ONNXRUNTIME,)


def test_limits_come_from_the_configuration() -> None:
    limits = image_limits(Config())
    assert limits.max_bytes == Config().images.max_mib << 20
    assert limits.max_side == Config().images.max_side_px
