"""Models out of service and back in, by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import ModelUnavailable, NotFound, PackRejected
from appliance.models.control import ModelControl
from appliance.models.manifest import Role
from appliance.models.pack import ModelPack
from appliance.models.registry import ModelRegistry, ModelState
from engines.pixels import PixelInput
from tests.simulators.packs import NumpyEngine

ROLE = Role.KARYOTYPE_CLASSIFIER


def open_numpy(model_path: Path, pixels: PixelInput | None = None) -> NumpyEngine:
    assert (model_path.is_file(), pixels) == (True, None)
    return NumpyEngine()


@pytest.fixture
def registry(pack_directory: Path) -> Iterator[ModelRegistry]:
    contract = ModelPack.open(pack_directory).contract_hash
    with ModelRegistry(open_numpy, {ROLE: frozenset((contract,))}) as registry:
        registry.load([pack_directory])
        yield registry


def test_out_and_in_again(registry: ModelRegistry, pack_directory: Path) -> None:
    control = ModelControl(registry, lambda: [pack_directory])
    control.unload("tiny", "token central")
    status = registry.status(ROLE)
    assert (status.state, status.reason) == (ModelState.UNAVAILABLE, "taken out of service by token central")
    with pytest.raises(ModelUnavailable, match="taken out of service"), registry.acquire(ROLE):
        pass
    with pytest.raises(NotFound, match="expected one of the models none and got 'tiny'"):
        control.unload("tiny", "token central")
    control.load("tiny")
    assert registry.status(ROLE).state is ModelState.READY
    control.load("tiny")  # again: read anew


def test_names_that_nobody_knows(registry: ModelRegistry, pack_directory: Path) -> None:
    control = ModelControl(registry, lambda: [pack_directory])
    with pytest.raises(NotFound, match="expected one of the packs tiny and got 'other'"):
        control.load("other")
    with pytest.raises(NotFound, match="expected one of the models tiny and got 'other'"):
        control.unload("other", "somebody")


def test_a_damaged_pack_is_refused_and_the_model_stays(registry: ModelRegistry, pack_directory: Path) -> None:
    (pack_directory / "model.onnx").write_bytes(b"torn")
    control = ModelControl(registry, lambda: [pack_directory])
    with pytest.raises(PackRejected):
        control.load(pack_directory.name)
    assert registry.status(ROLE).state is ModelState.READY
