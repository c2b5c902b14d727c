"""A daemon for the occasion: on a private Unix socket in a temporary folder, gone when its work is done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from appliance.client.connection import ApplianceClient, CallError
from appliance.errors import Unavailable
from appliance.pb import appliance_pb2

START_TIMEOUT_S = 900.0
"""The first build of all engines on a new box takes minutes."""

STOP_TIMEOUT_S = 30.0
LOG_TAIL_LINES = 15
STOP_WITH_INPUT = "--stop-with-input"
"""Tells `appliance serve` to stop when its standard input ends: so it never outlives who started it."""


class LocalDaemon:
    """Starts `appliance serve` as a child process; use it as a context manager.

    Compiled engines are kept in the user's cache directory, so that only the first daemon builds them.

    Args:
        extra_arguments: more words for `appliance serve`.
    """

    def __init__(self, extra_arguments: tuple[str, ...] = ()) -> None:
        self._extra_arguments = extra_arguments
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log = Path()
        self.address = ""

    def __enter__(self) -> LocalDaemon:
        self._folder = tempfile.TemporaryDirectory(prefix="appliance-")
        folder = Path(self._folder.name)
        self.address = f"unix:{folder / 'appliance.sock'}"
        self._log = folder / "daemon.log"
        command = [sys.executable, "-m", "appliance", "serve", STOP_WITH_INPUT]
        command += ["--state-dir", str(folder), "--listen", self.address, "--cache-dir", str(engine_cache())]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *self._extra_arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches us alone; we stop it in order
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._folder is not None:
            self._folder.cleanup()

    def wait_until_started(self, client: ApplianceClient) -> appliance_pb2.GetStatusResponse:
        """Wait for the models; Unavailable with the end of the daemon's log if it does not come up."""
        try:
            return client.wait_until_started(START_TIMEOUT_S, self._is_running)
        except CallError as exc:
            tail = self._log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
            raise Unavailable("the daemon did not start; the end of its log:\n" + "\n".join(tail)) from exc

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None


def engine_cache() -> Path:
    """Where this user's compiled engines are kept between occasions."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "appliance" / "engines"
