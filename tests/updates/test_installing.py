"""The whole way: published by a centre, installed by a box, confirmed, rolled back, refused."""

from __future__ import annotations

import threading

import pytest

from appliance.errors import Cancelled, NotFound, ReleaseRefused
from appliance.updates.evidence import verify_evidence
from appliance.updates.request import InstallEvent, InstallRequest
from tests.simulators.linear import ROLE, weights
from tests.updates.conftest import Fleet


def test_a_release_is_installed_confirmed_and_told_in_the_history(fleet: Fleet) -> None:
    box = fleet.box().start()
    assert box.version == "0.9.0"

    assert box.install(fleet.source) == ("confirming",)
    assert box.version == "1.0.0"
    assert box.models.held(ROLE) is not None
    box.serve(25)
    box.updates.tick()

    installed = next(one for one in box.updates.installed() if one.role is ROLE)
    assert installed.install is not None
    assert installed.install.state.value == "good"
    assert installed.record.confirmed
    assert installed.record.counter == 1
    assert box.models.held(ROLE) is None
    events = list(reversed(box.updates.history(10)))
    assert [event.what for event in events] == ["downloading", "passed", "confirming", "good"]
    assert {event.approved_by for event in events} == {("targets-1", "targets-2")}
    assert {event.requested_by for event in events} == {"tester"}
    report = verify_evidence(box.updates.evidence(events[-1].evidence))
    assert report["passed"]
    assert [line["name"] for line in report["lines"]] == [
        "contract",
        "known answers",
        "metric (golden set)",
        "latency",
        "memory",
    ]
    assert events[1].engine.startswith("onnxruntime")
    assert all(check.passed for check in box.updates.verify())


def test_installing_again_is_nothing_new(fleet: Fleet) -> None:
    box = fleet.box().start()
    box.install(fleet.source)
    box.serve(25)
    box.updates.tick()
    assert box.install(fleet.source) == ()
    assert box.install(fleet.source, release="linear-1.0.0") == ("good",)


def test_the_release_serves_after_a_start_and_the_factory_pack_after_a_rollback(fleet: Fleet) -> None:
    box = fleet.box().start()
    box.install(fleet.source)
    box.serve(25)
    box.updates.tick()
    box.close()

    box = fleet.box().start()
    assert box.version == "1.0.0"
    model = box.updates.roll_back(ROLE, "tester", lambda _event: None)
    assert model.current == ""
    assert box.version == "0.9.0"
    assert box.answers_well()
    box.close()
    assert fleet.box().start().version == "0.9.0"


def test_rolling_back_twice_goes_forward_again(fleet: Fleet) -> None:
    box = fleet.box().start()
    for version, counter in (("1.0.0", 1), ("1.1.0", 2)):
        if counter > 1:
            fleet.centre.release(fleet.pack(version, seed=counter + 5), counter)
        box.install(fleet.source)
        box.serve(25)
        box.updates.tick()
    assert box.version == "1.1.0"
    box.updates.roll_back(ROLE, "tester", lambda _event: None)
    assert box.version == "1.0.0"
    box.updates.roll_back(ROLE, "tester", lambda _event: None)
    assert box.version == "1.1.0"


def test_only_current_and_previous_stay_on_the_disk(fleet: Fleet) -> None:
    box = fleet.box().start()
    for counter in range(1, 5):
        if counter > 1:
            fleet.centre.release(fleet.pack(f"1.{counter}.0", seed=counter + 5), counter)
        box.install(fleet.source)
        box.serve(25)
        box.updates.tick()
    bundles = list((box.state / "releases" / "bundles").iterdir())
    assert len(bundles) == 2
    assert not list((box.state / "releases" / "part").iterdir())


def test_hold_waits_for_activate(fleet: Fleet) -> None:
    box = fleet.box().start()
    assert box.install(fleet.source, activate=False) == ("passed",)
    assert box.version == "0.9.0"
    box.close()
    box = fleet.box().start()
    assert box.version == "0.9.0"
    box.updates.activate(ROLE, "tester", lambda _event: None)
    assert box.version == "1.0.0"


def test_activate_without_anything_that_waits_is_refused(fleet: Fleet) -> None:
    box = fleet.box().start()
    with pytest.raises(NotFound, match="that passed the gate and got none"):
        box.updates.activate(ROLE, "tester", lambda _event: None)
    with pytest.raises(NotFound, match="only the factory's"):
        box.updates.roll_back(ROLE, "tester", lambda _event: None)


def test_an_install_can_be_cancelled_and_repeated(fleet: Fleet) -> None:
    box = fleet.box().start()

    def cancel(event: InstallEvent) -> None:
        if event.state.value == "downloading" and event.done_bytes:
            assert box.updates.cancel()

    with pytest.raises(Cancelled):
        box.updates.install(InstallRequest(str(fleet.source), "tester"), cancel)
    installed = next(one for one in box.updates.installed() if one.role is ROLE)
    assert installed.install is not None
    assert installed.install.state.value == "cancelled"
    assert box.install(fleet.source) == ("confirming",)
    assert not box.updates.cancel()


def test_an_older_release_is_refused_by_name(fleet: Fleet) -> None:
    fleet.centre.release(fleet.pack("1.1.0", seed=8), 2)
    box = fleet.box().start()
    box.install(fleet.source)
    box.serve(25)
    box.updates.tick()
    assert box.version == "1.1.0"
    with pytest.raises(ReleaseRefused, match=r"release counter of at least 2 .* and got 1"):
        box.install(fleet.source, release="linear-1.0.0")
    assert box.version == "1.1.0"


def test_a_release_for_another_box_is_not_taken(fleet: Fleet) -> None:
    fleet.centre.release(fleet.pack("1.1.0", seed=8), 2, hardware=("riscv64",))
    fleet.centre.release(fleet.pack("1.2.0", seed=9), 3, minimum_daemon="99.0.0")
    box = fleet.box().start()
    box.install(fleet.source)
    assert box.version == "1.0.0"
    with pytest.raises(ReleaseRefused, match="got one for riscv64"):
        box.install(fleet.source, release="linear-1.1.0")
    with pytest.raises(ReleaseRefused, match=r"needs 99\.0\.0"):
        box.install(fleet.source, release="linear-1.2.0")


def test_a_scheduled_install_heeds_the_rollout(fleet: Fleet) -> None:
    fleet.centre.release(fleet.pack("1.1.0", seed=8), 2, group="pilots", percentage=100)
    box = fleet.box().start()
    box.install(fleet.source, scheduled=True)
    assert box.version == "1.0.0"


def test_a_box_without_a_root_of_trust_installs_nothing(fleet: Fleet) -> None:
    box = fleet.box(root=None).start()
    with pytest.raises(ReleaseRefused, match=r"releases\.root"):
        box.install(fleet.source)
    assert box.answers_well()


def test_live_failures_roll_back_by_themselves(fleet: Fleet) -> None:
    box = fleet.box().start()
    box.install(fleet.source)
    with box.models.acquire(ROLE) as lease:
        lease.engine.fails = True  # type: ignore[attr-defined]
    box.serve(3)
    box.updates.tick()
    assert box.version == "0.9.0"
    assert box.answers_well()
    event = box.updates.history(1)[0]
    assert event.what == "rolled back"
    assert "failed calls and got 3 of 3" in event.detail


def test_disagreement_with_the_model_before_rolls_back(fleet: Fleet) -> None:
    box = fleet.box(confirm_requests=1000).start()
    box.install(fleet.source)
    with box.models.acquire(ROLE) as lease:
        lease.engine.weights = weights()[:, ::-1]  # type: ignore[attr-defined]
    box.serve(8)
    box.updates.tick()
    assert box.version == "0.9.0"
    assert "agreement" in box.updates.history(1)[0].detail


def test_a_loop_of_starts_rolls_back_without_any_network(fleet: Fleet) -> None:
    box = fleet.box().start()
    box.install(fleet.source)
    assert box.version == "1.0.0"
    versions = []
    for _ in range(5):  # no close: each start is after a death
        box = fleet.box().start(carry_on=False)
        versions.append(box.version)
    assert versions == ["1.0.0", "1.0.0", "1.0.0", "0.9.0", "0.9.0"]
    assert "started 3 times" in box.updates.history(1)[0].detail


def test_silence_confirms_after_the_time_that_is_configured(fleet: Fleet) -> None:
    box = fleet.box(confirm_hours=1).start()
    box.install(fleet.source)
    box.updates.tick()
    assert box.updates.installed()[2].install.state.value == "confirming"  # type: ignore[union-attr]
    box.clock.advance(3601)
    box.updates.tick()
    assert box.updates.installed()[2].install.state.value == "good"  # type: ignore[union-attr]


def test_a_shadow_is_promoted_when_it_agrees(fleet: Fleet) -> None:
    box = fleet.box(shadow_requests=10).start()
    assert box.install(fleet.source, shadow=True) == ("shadowing",)
    assert box.version == "0.9.0"
    box.serve(9)
    box.updates.tick()
    assert box.version == "0.9.0"
    box.serve(2)
    box.updates.tick()
    assert box.version == "1.0.0"


def test_a_shadow_that_disagrees_is_discarded(fleet: Fleet) -> None:
    box = fleet.box(shadow_requests=10).start()
    box.install(fleet.source, shadow=True)
    with box.models.acquire(ROLE, held=True) as lease:
        lease.engine.weights = weights()[:, ::-1]  # type: ignore[attr-defined]
    box.serve(6)
    box.updates.tick()
    assert box.version == "0.9.0"
    assert box.models.held(ROLE) is None
    assert box.updates.history(1)[0].what == "refused"


def test_no_request_is_lost_while_models_swap(fleet: Fleet) -> None:
    box = fleet.box().start()
    stop = threading.Event()
    lost: list[BaseException] = []

    def keep_asking() -> None:
        while not stop.is_set():
            try:
                assert box.answers_well()
            except BaseException as exc:
                lost.append(exc)

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    box.install(fleet.source)
    box.updates.roll_back(ROLE, "tester", lambda _event: None)
    stop.set()
    for thread in threads:
        thread.join()
    assert lost == []
