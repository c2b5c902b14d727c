from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.client import ApplianceClient, CallError
from appliance.clock import ManualClock
from appliance.errors import LimitExceeded
from appliance.pb import analysis_pb2
from appliance.pb.chest_xray_pb2 import AnalyzeChestXrayRequest
from tests.simulators.analyses import film_analysis, metaphase_analysis
from tests.simulators.appliance import Bench, film_png

WAIT_S = 30.0


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as bench:
        yield bench


@pytest.fixture
def client(bench: Bench) -> Iterator[ApplianceClient]:
    with ApplianceClient(bench.serve()) as client:
        yield client


def test_what_the_daemon_refuses_is_raised_in_its_words(client: ApplianceClient) -> None:
    with pytest.raises(CallError, match="0 bytes") as caught:
        client.analyze_chest_film(AnalyzeChestXrayRequest(encoded=b""), WAIT_S)
    assert (caught.value.status, caught.value.kind) == ("INVALID_ARGUMENT", "EMPTY_INPUT")


def test_a_busy_daemon_is_asked_again(client: ApplianceClient, bench: Bench) -> None:
    faults = iter([LimitExceeded("busy", retry_after_s=0.01), None])
    infer = bench.engines.infer

    def busy_at_first(*words: object) -> object:
        bench.engines.fault = next(faults, None)
        return infer(*words)  # type: ignore[arg-type]

    bench.engines.infer = busy_at_first  # type: ignore[method-assign, assignment]
    assert client.analyze_chest_film(AnalyzeChestXrayRequest(encoded=film_png()), WAIT_S).film.findings
    assert next(faults, "used up") == "used up"


def test_all_pages_in_one_go(client: ApplianceClient, bench: Bench) -> None:
    clock = ManualClock()
    for index in range(120):
        clock.advance(1.0)
        bench.store.commit(film_analysis(clock) if index % 2 else metaphase_analysis(clock, 1))
    assert len(list(client.results())) == 120
    films = list(client.results(analysis_pb2.MODALITY_CHEST_XRAY))
    assert len(films) == 60
    assert client.get_result(films[0].result_id).film.findings


def test_nobody_answers(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'none'}"
    with ApplianceClient(address) as client:
        with pytest.raises(CallError, match=f"no daemon answers at {address}"):
            client.status(WAIT_S)
        with pytest.raises(CallError, match="expected the daemon"):
            client.wait_until_started(WAIT_S, still_running=lambda: False)


def test_the_wait_ends_when_the_models_were_tried(client: ApplianceClient, bench: Bench) -> None:
    bench.checkup.start_ended()
    status = client.wait_until_started(WAIT_S)
    assert len(status.problems) == 4
