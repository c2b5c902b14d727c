from __future__ import annotations

from typing import Any

import pytest

from appliance.errors import ModelUnavailable, NotFound
from appliance.models.identity import ModelIdentity
from appliance.models.manifest import Role
from appliance.models.registry import ModelState, ModelStatus
from appliance.rpc.open_inference.catalog import Catalog
from appliance.rpc.open_inference.pipeline_models import KaryotypeModel
from appliance.rpc.open_inference.tensor_models import TensorModel, TensorModels


class Models:
    """A registry that says what it is told to say."""

    def __init__(self, **names: str | ModelState) -> None:
        self._named = names

    def statuses(self) -> tuple[ModelStatus, ...]:
        return tuple(self._status(role, self._named.get(role.name, ModelState.UNAVAILABLE)) for role in Role)

    def _status(self, role: Role, named: str | ModelState) -> ModelStatus:
        loaded = isinstance(named, str)
        identity = (
            ModelIdentity(named, "1.2.3", role, "f" * 64, "openvino", "CPU", "INT8") if loaded else None
        )
        state = ModelState.READY if isinstance(named, str) else named
        return ModelStatus(role, state, "" if loaded else "a reason", identity, None, False, 0)


def catalog(**names: Any) -> Catalog:
    unused: Any = None
    models: Any = Models(**names)
    return Catalog([KaryotypeModel(unused, unused)], TensorModels(models, unused, 8))


def test_models_go_by_the_names_of_their_packs() -> None:
    found = catalog(CHEST_XRAY_DETECTOR="films").find("films", "")
    assert isinstance(found, TensorModel)
    assert (found.health.name, found.health.version) == ("films", "1.2.3")
    assert catalog(CHEST_XRAY_DETECTOR="films").find("films", "1.2.3").health.name == "films"
    assert catalog(CHEST_XRAY_DETECTOR="films").find("films", "1").health.name == "films"


def test_a_pipeline_goes_before_a_pack_of_its_name() -> None:
    both = catalog(KARYOTYPE_DETECTOR="karyotype")
    assert isinstance(both.find("karyotype", ""), KaryotypeModel)
    assert both.names() == ("karyotype",)


def test_an_unknown_name_or_version() -> None:
    with pytest.raises(NotFound, match="expected one of the models karyotype, films and got 'film'"):
        catalog(CHEST_XRAY_DETECTOR="films").find("film", "")
    with pytest.raises(NotFound, match=r"expected version 1, 1\.2\.3 or none of films and got '2'"):
        catalog(CHEST_XRAY_DETECTOR="films").find("films", "2")


def test_a_name_that_may_still_come() -> None:
    with pytest.raises(ModelUnavailable, match="models are still being loaded"):
        catalog(CHEST_XRAY_DETECTOR=ModelState.LOADING).find("films", "")
