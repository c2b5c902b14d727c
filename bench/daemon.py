"""A real daemon in a process of its own, as a benchmark needs it: started, ready, weighed, stopped."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import grpc

from appliance.pb.appliance_pb2 import GetStatusRequest
from appliance.pb.appliance_pb2_grpc import ApplianceServiceStub
from appliance.pb.case_pb2_grpc import CaseServiceStub
from appliance.pb.chest_xray_pb2_grpc import ChestXrayServiceStub
from appliance.pb.karyotype_pb2_grpc import KaryotypeServiceStub

READY_LIMIT_S = 300.0
STOP_LIMIT_S = 60.0
MESSAGE_BYTES = 256 << 20
POLL_S = 0.01


class BenchedDaemon:
    """`appliance serve` on a free port, from the `with` statement's start to its end.

    Args:
        state_dir: its state: compile cache and results.
        packs: a folder with one model pack per sub-folder; None means the factory packs.

    Attributes:
        start_s: from the start of the process until every model was ready, in seconds.
        address: where it listens, beside its Unix socket.
        pid: of its own process.
    """

    def __init__(self, state_dir: Path, packs: Path | None = None) -> None:
        self._state_dir = state_dir
        self._packs = packs
        self.start_s = 0.0

    def __enter__(self) -> BenchedDaemon:
        self._state_dir.mkdir(parents=True, exist_ok=True)
        self.address = f"127.0.0.1:{_free_port()}"
        command = [sys.executable, "-m", "appliance", "serve", "--listen", self.address]
        command += ["--state-dir", str(self._state_dir)]
        if self._packs is not None:
            configuration = self._state_dir / "bench.toml"
            configuration.write_text(f'[models]\ndirectory = "{self._packs.resolve()}"\n')
            command += ["--config", str(configuration)]
        self._log = (self._state_dir / "serve.log").open("ab")
        began_s = time.perf_counter()
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        self.pid = self._process.pid
        self._channel = grpc.insecure_channel(
            self.address,
            options=[
                ("grpc.max_receive_message_length", MESSAGE_BYTES),
                ("grpc.max_send_message_length", MESSAGE_BYTES),
                ("grpc.initial_reconnect_backoff_ms", 20),
                ("grpc.min_reconnect_backoff_ms", 20),
                ("grpc.max_reconnect_backoff_ms", 50),
            ],
        )
        self.cases = CaseServiceStub(self._channel)
        self.karyotype = KaryotypeServiceStub(self._channel)
        self.chest_xray = ChestXrayServiceStub(self._channel)
        try:
            self._wait_ready(began_s)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def resident_mb(self) -> tuple[float, float]:
        """Resident memory of the daemon's own process, and with its decoder processes; 10⁶ bytes.

        The second counts pages that the processes share once for each of them: an upper bound.
        """
        main = _resident_bytes(self._process.pid)
        return main / 1e6, (main + sum(_resident_bytes(pid) for pid in _descendants(self._process.pid))) / 1e6

    def _wait_ready(self, began_s: float) -> None:
        status = ApplianceServiceStub(self._channel)
        problems = "nobody answered"
        while time.perf_counter() - began_s < READY_LIMIT_S:
            if self._process.poll() is not None:
                tail = Path(self._log.name).read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the daemon ended with status {self._process.returncode}:\n{tail}")
            try:
                answer = status.GetStatus(GetStatusRequest(), timeout=5.0)
            except grpc.RpcError as exc:
                problems = str(exc)
            else:
                if answer.ready:
                    self.start_s = time.perf_counter() - began_s
                    return
                problems = "; ".join(answer.problems)
            time.sleep(POLL_S)
        raise RuntimeError(f"expected a ready daemon within {READY_LIMIT_S:g} s and got: {problems}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _resident_bytes(pid: int) -> int:
    """VmRSS (proc(5)); nought for a process that has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found
