from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.inference import LaneLoad
from appliance.models.manifest import Role
from appliance.models.registry import ModelState, ModelStatus
from appliance.results import StoreStatus
from appliance.rpc.readiness import (
    APPLIANCE,
    CASE,
    CHEST_XRAY,
    KARYOTYPE,
    OPEN_INFERENCE,
    OVERALL,
    RESULT,
    REVIEW,
    ROLES,
    serving,
)
from appliance.rpc.server import SERVICE_NAMES
from appliance.service import CheckupStatus
from engines import DeviceProbe


def status_with(*ready: Role) -> CheckupStatus:
    models = tuple(
        (
            ModelStatus(
                role=role,
                state=ModelState.READY if role in ready else ModelState.LOADING,
                reason="",
                identity=None,
                engine=None,
                demonstration=False,
                leases=0,
            ),
            LaneLoad(0, 0),
        )
        for role in Role
    )
    store = StoreStatus(results=0, size_bytes=0, limit_bytes=1, quarantined=Path("aside"))
    return CheckupStatus(0, models, store, DeviceProbe(()), (), starting=False)


def test_all_is_well() -> None:
    assert serving(status_with(*Role)) == {OVERALL, *SERVICE_NAMES}


@pytest.mark.parametrize("missing", list(Role))
def test_a_missing_model_takes_its_own_service_down(missing: Role) -> None:
    hit = next(name for name, roles in ROLES.items() if missing in roles)
    names = serving(status_with(*(role for role in Role if role is not missing)))
    assert names == set(SERVICE_NAMES) - {hit, OPEN_INFERENCE}


def test_without_models_results_can_still_be_read() -> None:
    assert serving(status_with()) == {APPLIANCE, RESULT, CASE, REVIEW}


def test_without_storage_nothing_is_analysed() -> None:
    assert serving(replace(status_with(*Role), store=None)) == {APPLIANCE}


def test_the_names_are_those_of_the_services() -> None:
    ours = {KARYOTYPE, CHEST_XRAY, RESULT, CASE, REVIEW, APPLIANCE, OPEN_INFERENCE}
    assert ours == set(SERVICE_NAMES)
