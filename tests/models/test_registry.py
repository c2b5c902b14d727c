from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from appliance.errors import ModelUnavailable, PackRejected
from appliance.models.manifest import Role
from appliance.models.pack import ModelPack
from appliance.models.registry import EngineOpener, LoadEvent, ModelRegistry, ModelState
from engines.errors import EngineLoadError
from engines.pixels import PixelInput
from engines.tensor_spec import TensorSpec
from tests.simulators.packs import NumpyEngine, Tree, rewrite

ROLE = Role.KARYOTYPE_CLASSIFIER


class Opener:
    """Gives numpy engines and remembers them."""

    def __init__(self) -> None:
        self.engines: list[NumpyEngine] = []

    def __call__(self, model_path: Path, pixels: PixelInput | None = None) -> NumpyEngine:
        assert model_path.is_file()
        assert pixels is None, "crops are no pixels"
        self.engines.append(NumpyEngine())
        return self.engines[-1]


def registry_for(pack: ModelPack, opener: EngineOpener, drain_timeout_s: float = 5.0) -> ModelRegistry:
    return ModelRegistry(opener, {ROLE: frozenset({pack.contract_hash})}, drain_timeout_s)


def test_load_brings_a_pack_into_service_and_reports(pack_directory: Path) -> None:
    opener = Opener()
    events: list[LoadEvent] = []
    with registry_for(ModelPack.open(pack_directory), opener) as registry:
        statuses = registry.load([pack_directory], events.append)
        status = next(status for status in statuses if status.role is ROLE)
        assert status.state is ModelState.READY
        assert status.identity is not None
        assert (status.identity.name, status.identity.version, status.identity.engine) == (
            "tiny",
            "1.2.3",
            "onnxruntime",
        )
        assert [event.state for event in events] == [ModelState.LOADING, ModelState.LOADING, ModelState.READY]
        assert events[-1].detail == "onnxruntime, CPU: numpy, FP32"
        assert opener.engines[0].batches == [46]
        with registry.acquire(ROLE) as lease:
            assert lease.identity == status.identity
            assert registry.status(ROLE).leases == 1
        assert registry.status(ROLE).leases == 0
        assert not registry.ready
    assert opener.engines[0].closings == 1


def test_a_role_without_a_pack_is_unavailable_and_says_so(pack_directory: Path) -> None:
    with registry_for(ModelPack.open(pack_directory), Opener()) as registry:
        with (
            pytest.raises(ModelUnavailable, match="got unavailable: no model pack was loaded for this role"),
            registry.acquire(ROLE),
        ):
            pass
        assert registry.status(ROLE).state is ModelState.UNAVAILABLE


def test_an_unknown_contract_is_refused_and_the_role_says_why(pack_directory: Path) -> None:
    opener = Opener()
    registry = ModelRegistry(opener, {ROLE: frozenset({"f" * 64})})
    with pytest.raises(
        PackRejected, match=r"expected a contract that the karyotype.classifier pipeline knows"
    ):
        registry.activate(ModelPack.open(pack_directory))
    registry.load([pack_directory])
    status = registry.status(ROLE)
    assert status.state is ModelState.UNAVAILABLE
    assert "expected a contract" in status.reason
    assert opener.engines == []


def test_one_bad_pack_does_not_stop_the_others(pack_directory: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(pack_directory, bad)
    (bad / "model.onnx").write_bytes(b"changed")
    with registry_for(ModelPack.open(pack_directory), Opener()) as registry:
        registry.load([bad, pack_directory], parallel=1)
        assert registry.status(ROLE).state is ModelState.READY
        assert "pack bad: expected 700 bytes" in registry.status(Role.KARYOTYPE_DETECTOR).reason


def test_a_graph_with_other_tensors_is_refused_and_closed(pack_directory: Path) -> None:
    engine = NumpyEngine(outputs=(TensorSpec("logits", "FP32", (-1, 5)),))
    pack = ModelPack.open(pack_directory)

    def opener(model_path: Path, pixels: PixelInput | None = None) -> NumpyEngine:
        assert (model_path.name, pixels) == ("model.onnx", None)
        return engine

    with (
        registry_for(pack, opener) as registry,
        pytest.raises(PackRejected, match=r"expected shape \[-1, 3\] for logits and got \[-1, 5\]"),
    ):
        registry.activate(pack)
    assert engine.closings == 1


def test_a_runtime_that_cannot_compile_leaves_the_old_model_in_service(pack_directory: Path) -> None:
    opener = Opener()
    broken = False

    def sometimes(model_path: Path, pixels: PixelInput | None = None) -> NumpyEngine:
        if broken:
            raise EngineLoadError("expected an ONNX graph and got nonsense")
        return opener(model_path, pixels)

    pack = ModelPack.open(pack_directory)
    with registry_for(pack, sometimes) as registry:
        registry.activate(pack)
        broken = True
        with pytest.raises(ModelUnavailable, match=r"no engine for tiny 1.2.3: expected an ONNX graph"):
            registry.activate(pack)
        with registry.acquire(ROLE) as lease:
            assert lease.engine is opener.engines[0]
        assert registry.status(ROLE).state is ModelState.READY


def test_a_swap_waits_for_the_leases_on_the_old_engine(pack_directory: Path) -> None:
    opener = Opener()
    pack = ModelPack.open(pack_directory)
    rewrite(pack_directory, _newer)
    newer = ModelPack.open(pack_directory)
    with registry_for(pack, opener) as registry:
        registry.activate(pack)
        with registry.acquire(ROLE) as old:
            swap = threading.Thread(target=registry.activate, args=(newer,))
            swap.start()
            while registry.status(ROLE).identity == old.identity:
                threading.Event().wait(0.001)
            assert opener.engines[0].closings == 0
            with registry.acquire(ROLE) as new:
                assert new.identity.version == "1.2.4"
                assert new.engine is opener.engines[1]
        swap.join(5)
        assert not swap.is_alive()
        assert opener.engines[0].closings == 1
        assert opener.engines[1].closings == 0


def test_a_lease_that_outlives_the_drain_closes_the_engine_itself(pack_directory: Path) -> None:
    opener = Opener()
    pack = ModelPack.open(pack_directory)
    with registry_for(pack, opener, drain_timeout_s=0.01) as registry:
        registry.activate(pack)
        with registry.acquire(ROLE):
            registry.drain(ROLE)
            assert opener.engines[0].closings == 0
            assert registry.status(ROLE).state is ModelState.UNAVAILABLE
        assert opener.engines[0].closings == 1


def test_a_drain_refuses_new_leases_while_it_waits(pack_directory: Path) -> None:
    pack = ModelPack.open(pack_directory)
    with registry_for(pack, Opener()) as registry:
        registry.activate(pack)
        with registry.acquire(ROLE):
            drain = threading.Thread(target=registry.drain, args=(ROLE, "being replaced"))
            drain.start()
            while registry.status(ROLE).state is not ModelState.UNLOADING:
                threading.Event().wait(0.001)
            with (
                pytest.raises(ModelUnavailable, match="got unloading: being replaced"),
                registry.acquire(ROLE),
            ):
                pass
        drain.join(5)
        assert registry.status(ROLE).state is ModelState.UNAVAILABLE


def test_leases_are_given_back_when_the_request_fails(pack_directory: Path) -> None:
    pack = ModelPack.open(pack_directory)
    with registry_for(pack, Opener()) as registry:
        registry.activate(pack)
        with pytest.raises(RuntimeError, match="boom"), registry.acquire(ROLE):
            raise RuntimeError("boom")
        assert registry.status(ROLE).leases == 0


def test_loading_shows_while_the_first_engine_compiles(pack_directory: Path) -> None:
    pack = ModelPack.open(pack_directory)
    seen: list[ModelState] = []

    def slow(model_path: Path, pixels: PixelInput | None = None) -> NumpyEngine:
        assert (model_path.name, pixels) == ("model.onnx", None)
        seen.append(registry.status(ROLE).state)
        return NumpyEngine()

    registry = registry_for(pack, slow)
    registry.activate(pack)
    registry.activate(pack)
    assert seen == [ModelState.LOADING, ModelState.READY]
    registry.close()


def test_a_closed_registry_takes_no_model(pack_directory: Path) -> None:
    pack = ModelPack.open(pack_directory)
    registry = registry_for(pack, Opener())
    registry.close()
    with pytest.raises(ModelUnavailable, match="the daemon is stopping"):
        registry.activate(pack)


def _newer(tree: Tree) -> None:
    tree["version"] = "1.2.4"
