"""Tells systemd how the daemon is (sd_notify(3)); a no-op where nobody listens."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from importlib import import_module


class Notifier:
    """Sends state changes to the service manager.

    Uses systemd-python where it is installed; the protocol is one datagram, which is sent by hand otherwise.
    A lost notification never hurts a request: the manager notices by its own timeouts.
    """

    def __init__(self, send: Callable[[str], None] | None = None) -> None:
        self._send = send or _sender()

    def starting(self, status: str, extend_s: float) -> None:
        """Start-up goes on; wait up to `extend_s` seconds for the next word."""
        self._send(f"STATUS={_one_line(status)}\nEXTEND_TIMEOUT_USEC={round(extend_s * 1e6)}")

    def ready(self, status: str) -> None:
        """Start-up is done."""
        self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={_one_line(status)}")

    def watchdog(self) -> None:
        """Still alive."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The shutdown has begun."""
        self._send("STOPPING=1")


class WatchdogThread:
    """Pings the watchdog at half of its timeout for as long as `alive` says so."""

    def __init__(self, notifier: Notifier, alive: Callable[[], bool], timeout_us: int | None = None) -> None:
        self._notifier = notifier
        self._alive = alive
        self._interval_s = (timeout_us if timeout_us is not None else watchdog_timeout_us()) / 2_000_000
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, if the manager asked for a watchdog."""
        if self._interval_s > 0:
            self._thread = threading.Thread(target=self._work, name="watchdog", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            if self._alive():
                self._notifier.watchdog()
            if self._stop.wait(self._interval_s):
                return


def watchdog_timeout_us() -> int:
    """$WATCHDOG_USEC in microseconds if it is meant for this process, otherwise 0."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0
    text = os.environ.get("WATCHDOG_USEC", "0")
    return int(text) if text.isdecimal() else 0


def _sender() -> Callable[[str], None]:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return lambda _state: None
    try:
        notify: Callable[[str], None] = import_module("systemd.daemon").notify
    except ImportError:
        return lambda state: _datagram(address, state)
    return notify


def _datagram(address: str, state: str) -> None:
    target = f"\0{address[1:]}" if address.startswith("@") else address
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
    ):
        channel.connect(target)
        channel.sendall(state.encode())


def _one_line(text: str) -> str:
    return " ".join(text.split())
