"""Releases over the wire: what is asked, what is told, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.client import ApplianceClient, CallError
from appliance.client.models import ModelsClient
from appliance.pb import appliance_pb2
from tests.simulators.appliance import Bench


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelsClient]:
    with (
        Bench(tmp_path_factory.mktemp("state")) as bench,
        ApplianceClient(bench.serve()) as client,
    ):
        yield ModelsClient(client)


def install(models: ModelsClient, **fields: object) -> list[appliance_pb2.InstallModelsResponse]:
    return list(models.install(appliance_pb2.InstallModelsRequest(**fields)))  # type: ignore[arg-type]


def test_a_new_box_has_factory_packs_and_no_history(models: ModelsClient) -> None:
    installed = models.installed().models
    assert len(installed) == 4
    assert {(one.current, one.previous, one.confirmed) for one in installed} == {("", "", True)}
    assert list(models.history(10).events) == []
    assert models.verify().passed
    assert not models.cancel()


@pytest.mark.parametrize(
    ("fields", "kind", "says"),
    [
        ({}, "INVALID_INPUT", "expected a source"),
        ({"source": "stick"}, "INVALID_INPUT", "an absolute directory or an https address"),
        ({"source": "http://host/"}, "INVALID_INPUT", "an absolute directory or an https address"),
        ({"source": "/stick", "role": "heart"}, "INVALID_INPUT", "a role among"),
        ({"source": "/stick", "release": "x" * 200}, "INVALID_INPUT", "a printable release"),
        ({"source": "/stick", "requested_by": "a\nb"}, "INVALID_INPUT", "a printable name"),
        ({"source": "/stick"}, "RELEASE_REFUSED", "releases.root"),
    ],
)
def test_what_is_wrong_is_refused_with_a_sentence(
    models: ModelsClient, fields: dict[str, object], kind: str, says: str
) -> None:
    with pytest.raises(CallError) as refused:
        install(models, **fields)
    assert refused.value.kind == kind
    assert says in str(refused.value)


def test_nothing_waits_and_nothing_was_before(models: ModelsClient) -> None:
    with pytest.raises(CallError, match="that passed the gate and got none"):
        models.activate("karyotype.classifier", "tester")
    with pytest.raises(CallError, match="only the factory's"):
        models.roll_back("karyotype.classifier", "tester")
    with pytest.raises(CallError, match="a role among"):
        models.roll_back("heart", "tester")
    with pytest.raises(CallError, match="the id of a kept report"):
        models.evidence(str(Path("..") / "device-key"))
