"""`appliance serve` as a process: it starts, says so, refuses what it cannot do, and stops in order."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.__main__ import ALLOCATOR_SETTINGS
from appliance.client import ApplianceClient, LocalDaemon
from appliance.errors import Unavailable

WAIT_S = 60.0


@contextmanager
def serve(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A daemon that never outlives its test."""
    with subprocess.Popen(
        [sys.executable, "-m", "appliance", "serve", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={name: value for name, value in os.environ.items() if name not in ALLOCATOR_SETTINGS},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def refused(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "serve", *words],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 1
    return done.stderr


def test_it_starts_tells_systemd_and_stops(tmp_path: Path, pack_settings: Path) -> None:
    state, notify = tmp_path / "state", tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, pytest.MonkeyPatch.context() as patch:
        manager.bind(str(notify))
        manager.settimeout(WAIT_S)
        patch.setenv("NOTIFY_SOCKET", str(notify))
        words = ("--state-dir", str(state), "--listen", "127.0.0.1:0", "--config", str(pack_settings))
        with serve(*words) as daemon:
            heard = ""
            while "READY=1" not in heard:
                heard = manager.recv(4096).decode()
            assert "4 of 4 models ready" in heard
            with ApplianceClient(f"unix:{state / 'appliance.sock'}") as client:
                assert client.status().ready
            environment = Path(f"/proc/{daemon.pid}/environ").read_bytes().decode()
            assert all(f"{name}={value}" in environment for name, value in ALLOCATOR_SETTINGS.items())
            daemon.send_signal(signal.SIGTERM)
            output, _ = daemon.communicate(timeout=WAIT_S)
            assert daemon.returncode == 0
            assert "STOPPING=1" in manager.recv(4096).decode()
    assert "READY on 127.0.0.1:" in output
    assert "stopped" in output
    assert not (state / "results.db-wal").exists()


def test_mistakes_in_the_settings_are_all_told(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[server]\nworkers = 1\nfoo = 2\n")
    words = refused("--config", str(path), "--state-dir", str(tmp_path / "s"))
    assert "2 mistakes in" in words
    assert "Traceback" not in words


def test_a_state_directory_in_use(daemon: LocalDaemon) -> None:
    folder = Path(daemon.address.removeprefix("unix:")).parent
    assert "another daemon is running" in refused("--state-dir", str(folder), "--listen", "127.0.0.1:0")


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"cannot listen on {address}" in refused("--state-dir", str(tmp_path), "--listen", address)


@pytest.mark.usefixtures("engine_cache_home")
def test_a_daemon_for_the_occasion_ends_with_who_started_it(tmp_path: Path, pack_settings: Path) -> None:
    code = (
        "import sys\n"
        "from appliance.client import ApplianceClient, LocalDaemon\n"
        "daemon = LocalDaemon(tuple(sys.argv[1:])).__enter__()\n"
        "status = daemon.wait_until_started(ApplianceClient(daemon.address))\n"
        "print(daemon._process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", code, "--config", str(pack_settings)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as starter:
        assert starter.stdout is not None
        daemon = os.pidfd_open(int(starter.stdout.readline()))
        starter.kill()
    with select.epoll() as watch:
        watch.register(daemon, select.EPOLLIN)
        assert watch.poll(WAIT_S), "the daemon is still running"
    os.close(daemon)


@pytest.mark.usefixtures("engine_cache_home")
def test_a_daemon_for_the_occasion_that_does_not_start_says_why() -> None:
    daemon = LocalDaemon(("--config", "/nowhere.toml"))
    with (
        daemon,
        ApplianceClient(daemon.address) as client,
        pytest.raises(Unavailable, match=r"nowhere\.toml"),
    ):
        daemon.wait_until_started(client)
