from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.systemd import Notifier, WatchdogThread, watchdog_timeout_us


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.settimeout(5.0)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield receiver


def test_the_manager_hears_every_state(manager: socket.socket) -> None:
    notifier = Notifier()
    notifier.starting("loading\nmodels", 2.5)
    notifier.ready("4 of 4 models ready")
    notifier.status("busy")
    notifier.watchdog()
    notifier.stopping()
    heard = [manager.recv(1024).decode() for _ in range(5)]
    assert heard == [
        "STATUS=loading models\nEXTEND_TIMEOUT_USEC=2500000",
        "READY=1\nSTATUS=4 of 4 models ready",
        "STATUS=busy",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"appliance-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        receiver.settimeout(5.0)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        Notifier().watchdog()
        assert receiver.recv(64) == b"WATCHDOG=1"


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready("alone")


def test_a_manager_that_is_gone_hurts_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    Notifier().ready("alone")


def test_the_watchdog_is_pinged_while_alive() -> None:
    pinged = threading.Event()
    thread = WatchdogThread(Notifier(lambda _state: pinged.set()), lambda: True, timeout_us=20_000)
    thread.start()
    assert pinged.wait(5.0)
    thread.stop()


def test_the_watchdog_is_silent_when_not_alive() -> None:
    asked = threading.Event()
    said: list[str] = []

    def alive() -> bool:
        asked.set()
        return False

    thread = WatchdogThread(Notifier(said.append), alive, timeout_us=20_000)
    thread.start()
    assert asked.wait(5.0)
    thread.stop()
    assert said == []


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [("30000000", None, 30_000_000), ("30000000", "1", 0), ("x", None, 0), (None, None, 0)],
)
def test_the_watchdogs_timeout(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, expected: int
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert watchdog_timeout_us() == expected
