"""The tables: every state has followers and a rule for after a cut, and records step back only by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.bundles.durable import DurableFiles
from appliance.bundles.history import Event, History
from appliance.bundles.install_state import (
    AFTER_CUT,
    CANCELLABLE,
    ENDED,
    TRANSITIONS,
    AfterCut,
    InstallState,
    check_transition,
)
from appliance.bundles.release import scheduled_here, unsuitable
from appliance.bundles.roles import RoleRecord
from appliance.bundles.slots import SlotFile
from appliance.updates.confirmation import ConfirmationRule, Counts, Decision, confirm, shadow
from tests.simulators.linear import linear_pack
from tests.simulators.releases import facts_of

RULE = ConfirmationRule(requests=20, seconds=3600, max_failures=0.05, max_latency_ms=100, min_agreement=0.8)


def test_every_state_has_its_rules() -> None:
    assert set(TRANSITIONS) == set(AFTER_CUT) == set(InstallState)
    for state, following in TRANSITIONS.items():
        assert state not in following
        assert bool(following) is (AFTER_CUT[state] is not AfterCut.NOTHING or state is InstallState.GOOD)
    assert InstallState.ACTIVATING not in CANCELLABLE
    assert InstallState.GOOD in ENDED


def test_every_state_leads_to_an_end() -> None:
    ends = set(ENDED)
    for _ in InstallState:
        ends |= {state for state, following in TRANSITIONS.items() if following & ends}
    assert ends == set(InstallState)


def test_a_step_that_the_table_does_not_have_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="after downloading and got good"):
        check_transition(InstallState.DOWNLOADING, InstallState.GOOD)


def test_a_flipped_bit_costs_one_step_back_and_no_more(tmp_path: Path) -> None:
    slots = SlotFile(DurableFiles(), tmp_path, "record")
    assert slots.read() is None
    for number in range(5):
        slots.write({"number": number})
    assert slots.read() == {"number": 4}
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        for place in range(0, len(data) * 8, 7):
            flipped = bytearray(data)
            flipped[place // 8] ^= 1 << place % 8
            path.write_bytes(bytes(flipped))
            assert slots.read() in ({"number": 3}, {"number": 4})
        path.write_bytes(data)
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    assert slots.read() is None
    assert len(slots.damaged) == 2
    slots.write({"number": 5})
    assert slots.read() == {"number": 5}


def test_the_history_survives_a_torn_line(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl", DurableFiles())
    event = Event(1, "role", "name", "1.0.0", "id", "good", "", "engine", "me", ("you",), "")
    history.add(event)
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(b'0123456789abcdef {"at_ms": 2, "ro')
    history.add(event)
    assert history.newest(10) == (event, event)
    lines = (tmp_path / "history.jsonl").read_bytes().splitlines()
    assert json.loads(lines[1].split(b" ", 1)[1])["what"] == "good"


def test_role_records_keep_the_last_confirmed_one_at_hand() -> None:
    first = RoleRecord().activated("a")
    assert (first.current, first.previous, first.confirmed) == ("a", None, False)
    assert first.activated("b").previous is None  # a was never confirmed
    good = first.confirmed_good(3)
    second = good.activated("b").started().started()
    assert (second.previous, second.starts, second.counter) == ("a", 2, 3)
    back = second.rolled_back()
    assert (back.current, back.previous, back.confirmed) == ("a", None, True)
    assert good.activated("b").confirmed_good(4).rolled_back().previous == "b"


@pytest.mark.parametrize(
    ("counts", "decision"),
    [
        (Counts(), Decision.WAIT),
        (Counts(answered=19), Decision.WAIT),
        (Counts(answered=20), Decision.ACCEPT),
        (Counts(answered=20, failed=1), Decision.ACCEPT),
        (Counts(answered=20, failed=2), Decision.REJECT),
        (Counts(failed=1), Decision.WAIT),
        (Counts(failed=2), Decision.REJECT),
        (Counts(answered=9, latency_ms_p95=101), Decision.WAIT),
        (Counts(answered=10, latency_ms_p95=101), Decision.REJECT),
        (Counts(compared=4, agreement=0.1), Decision.WAIT),
        (Counts(compared=5, agreement=0.79), Decision.REJECT),
        (Counts(elapsed_s=3600), Decision.ACCEPT),
    ],
)
def test_confirmation(counts: Counts, decision: Decision) -> None:
    assert confirm(counts, RULE)[0] is decision


@pytest.mark.parametrize(
    ("counts", "decision"),
    [
        (Counts(compared=19), Decision.WAIT),
        (Counts(compared=20), Decision.ACCEPT),
        (Counts(compared=6, elapsed_s=3600), Decision.ACCEPT),
        (Counts(compared=4, elapsed_s=3600), Decision.REJECT),
        (Counts(compared=20, agreement=0.5), Decision.REJECT),
    ],
)
def test_shadow(counts: Counts, decision: Decision) -> None:
    assert shadow(counts, RULE)[0] is decision


def test_a_rollout_only_grows_and_heeds_groups(tmp_path: Path) -> None:
    facts = facts_of(linear_pack(tmp_path / "pack"), 1, percentage=30)
    boxes = [f"box-{number}" for number in range(400)]
    reached = {box for box in boxes if scheduled_here(facts, box, "everyone")}
    assert 80 < len(reached) < 160
    wider = facts.model_copy(update={"percentage": 60})
    assert reached < {box for box in boxes if scheduled_here(wider, box, "everyone")}
    pilots = facts.model_copy(update={"group": "pilots", "percentage": 100})
    assert not scheduled_here(pilots, "box-1", "everyone")
    assert scheduled_here(pilots, "box-1", "pilots")


def test_hardware_and_daemon_have_to_fit(tmp_path: Path) -> None:
    facts = facts_of(linear_pack(tmp_path / "pack"), 1, hardware=("aarch64",), minimum_daemon="0.2.0")
    assert "got one for aarch64" in str(unsuitable(facts, "0.2.0", "x86_64"))
    assert "needs 0.2.0" in str(unsuitable(facts, "0.2.0-rc1", "aarch64"))
    assert unsuitable(facts, "0.10.0", "aarch64") is None
