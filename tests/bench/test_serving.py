from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.serving.cells import Cell, Repeat, Session, load_sessions
from bench.serving.contenders import CONTENDERS, SERVERS, Place
from bench.serving.loops import Busy, Load, NotServed, Order, carry_out
from bench.serving.payloads import CROPS, PAYLOADS
from bench.serving.processes import MARK, end, marked, send, usage
from bench.serving.verdicts import against_bare, against_peers

QUICK = Order(address="", model="", payload="fp32", clients=3, seconds=0.1)


class Answering:
    def __init__(self, refuse: int = 0) -> None:
        self.asked, self.refuse, self.closed = 0, refuse, False

    def __call__(self) -> None:
        self.asked += 1
        if self.asked <= self.refuse:
            raise Busy("come again")

    def close(self) -> None:
        self.closed = True


def cell(contender: str, clients: int, *per_second: float, ms: float = 10.0, mb: float = 100.0) -> Cell:
    repeats = [Repeat([ms, ms + 1, ms + 2], rate, 5.0, 1.0, mb, 0) for rate in per_second]
    return Cell("uint8", contender, clients, "commit", repeats)


@pytest.fixture
def sleeper() -> Iterator[str]:
    mark = f"test-{os.getpid()}"
    waits = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    process = subprocess.Popen(
        waits, env={**os.environ, MARK: mark}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        yield mark
        process.kill()


def test_loops_count_answers_and_refusals_and_leave_nothing_behind() -> None:
    callers = [Answering(refuse=1) for _ in range(3)]

    load = carry_out(QUICK, lambda _order, number: callers[number])

    assert all(caller.closed for caller in callers)
    assert len(load.latencies_ms) > 3
    assert load.answers_s <= load.window_s
    assert load.refused == 0  # during the warm-up, which does not count


def test_an_error_in_a_loop_is_told() -> None:
    class Broken(Answering):
        def __call__(self) -> None:
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        carry_out(QUICK, lambda _order, _number: Broken())


def test_who_will_never_be_served_does_not_wait() -> None:
    class Refused(Answering):
        def __call__(self) -> None:
            raise NotServed("no such datatype")

    with pytest.raises(NotServed):
        carry_out(Order("", "", "fp32", wait_s=60.0), lambda _order, _number: Refused())


def test_processes_are_found_by_their_mark_weighed_and_ended(sleeper: str) -> None:
    (pid,) = marked(sleeper)
    assert usage(sleeper).resident_mb > 1.0

    send(sleeper, signal.SIGSTOP)
    stopped = os.waitid(os.P_PID, pid, os.WSTOPPED)
    assert stopped is not None
    assert stopped.si_status == signal.SIGSTOP
    end(sleeper)

    assert marked(sleeper) == []
    assert marked("") == []


def test_a_cell_takes_the_median_window_and_percentiles_over_all() -> None:
    one = cell("ours-tcp", 4, 30.0, 10.0, 20.0)

    assert one.per_second == 20.0
    assert one.percentile_ms(50) == 11.0
    assert one.percentile_ms(99) == 12.0
    assert one.summary()["n"] == 9


def test_a_repeat_is_per_request() -> None:
    one = Repeat.of(Load([1.0, 2.0, 3.0], 0.1, 2, 0.5, 0.06, 0.03, 120.0))

    assert one.per_second == pytest.approx(20.0)
    assert one.server_cpu_ms == pytest.approx(20.0)
    assert one.client_cpu_ms == pytest.approx(10.0)


def test_sessions_are_kept(tmp_path: Path) -> None:
    kept = Session("uint8", [cell("ours-tcp", 1, 5.0)], {"ray": "not installed"})
    kept.save(tmp_path)

    assert load_sessions(tmp_path, ["fp32", "uint8"]) == [kept]


def test_the_limit_is_the_better_bare_engine() -> None:
    cells = [cell("bare-1", 16, 50.0), cell("bare-2", 16, 40.0), cell("ours-tcp", 16, 45.0)]
    cells += [cell("bare-1", 1, 20.0, ms=20.0), cell("ours-shm", 1, 19.0, ms=21.5)]

    found = {row.name: row for row in against_bare(Session("uint8", cells, {}))}

    throughput = found["YOLO11n, uint8 tensor: throughput of ours, TCP / bare engine, 16 clients"]
    assert throughput.value == pytest.approx(0.9)
    assert throughput.verdict == "missed"
    added = found["YOLO11n, uint8 tensor: p50 of ours, shared memory − bare engine, 1 client"]
    assert added.value == pytest.approx(1.5)
    assert added.verdict == "met"


def test_ours_meets_the_best_peer_that_sends_in_the_same_way() -> None:
    cells = [
        cell("ours-tcp", 4, 30.0, ms=11.0),
        cell("ray", 4, 20.0, mb=50.0),
        cell("triton", 4, 25.0, ms=12.0),
    ]
    cells += [cell("triton-shm", 4, 99.0)]

    found = {row.name: row for row in against_peers(Session("uint8", cells, {}))}

    assert len(found) == 4
    throughput = found[
        "YOLO11n, uint8 tensor: throughput of ours, TCP / best peer (Triton, Python backend), 4 clients"
    ]
    assert throughput.value == pytest.approx(1.2)
    assert throughput.verdict == "met"
    memory = found["YOLO11n, uint8 tensor: memory of ours, TCP / best peer (Ray Serve), 4 clients"]
    assert memory.verdict == "missed"


def test_payloads_are_what_the_packs_take() -> None:
    assert PAYLOADS["crops"].tensor(b"").shape == (CROPS, 1, 128, 96)
    assert PAYLOADS["jpeg"].tensor(b"film")[0] == b"film"
    assert PAYLOADS["uint8"].tensor(b"").dtype == "uint8"


def test_ours_is_started_with_the_one_pack_that_is_asked(tmp_path: Path) -> None:
    place = Place(tmp_path, PAYLOADS["crops"], 4000, tmp_path / "film.jpg")

    launch = SERVERS["ours"](place)

    assert launch.address == "127.0.0.1:4000"
    assert [path.name for path in (tmp_path / "packs").iterdir()] == ["chromosome-classifier"]
    assert place.graph.exists()
    assert {one.server for one in CONTENDERS} == set(SERVERS)
