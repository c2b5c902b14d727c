"""Starts the contenders for one payload, lets one at a time run while the others stand still, measures it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from bench.serving.contenders import SERVERS, Contender, Launch, Place
from bench.serving.environments import REPOSITORY, NotInstalled
from bench.serving.loops import Load, Order
from bench.serving.payloads import Payload
from bench.serving.processes import MARK, end, send

READY_LIMIT_S = 120.0
READY_STEP_S = 2.0
REFUSED_LIMIT_S = 15.0
"""For so long a refusal may mean that the model is still being loaded."""

POLL_S = 0.2
TAIL_CHARACTERS = 600
SETTLE_S = 0.2


class NoAnswer(Exception):
    """A contender cannot be measured; says why."""


class NotOffered(NoAnswer):
    """The server refused the request and would again."""


class OrderTaker:
    """A process that takes orders: the stock client, or the bare engine."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: IO[bytes]) -> None:
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )

    def carry_out(self, order: Order) -> Load:
        """Send an order, wait for what was seen; NoAnswer if there is nothing."""
        pipe, answers = self._process.stdin, self._process.stdout
        if pipe is None or answers is None or self._process.poll() is not None:
            raise NoAnswer("expected a process that takes orders and got one that has ended")
        pipe.write(json.dumps(asdict(order)) + "\n")
        pipe.flush()
        answer: dict[str, Any] = json.loads(answers.readline() or '{"error": "the client ended"}')
        if "error" in answer:
            raise (NotOffered if answer.get("hopeless") else NoAnswer)(answer["error"])
        return Load(**answer)

    def close(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


@dataclass
class Running:
    """A server that was started."""

    launch: Launch
    mark: str
    taker: OrderTaker
    process: subprocess.Popen[bytes] | None  # None: the taker is all there is


class Arena:
    """The servers for one payload, from the `with` statement's start to its end.

    Args:
        payload: what will be asked.
        folder: for configurations, logs and state.
        film: an encoded image.
    """

    def __init__(self, payload: Payload, folder: Path, film: Path) -> None:
        self._payload, self._folder, self._film = payload, folder, film
        self._token = secrets.token_hex(4)
        self._running: dict[str, Running] = {}
        self.absent: dict[str, str] = {}  # why a contender has no numbers

    def __enter__(self) -> Arena:
        self._client_log = (self._folder / "client.log").open("ab")
        command = [sys.executable, "-m", "bench.serving.client", str(self._film)]
        self._client = OrderTaker(command, _environment({}), self._client_log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for running in self._running.values():
            send(running.mark, signal.SIGCONT)
        self._client.close()
        for running in self._running.values():
            if running.process is None:
                running.taker.close()
            else:
                running.process.terminate()
                end(running.mark)
                running.process.wait()
        self._client_log.close()

    def start(self, contender: Contender) -> None:
        """Start its server, unless it runs, and wait for one answer; otherwise note why it is absent."""
        if contender.tensors_only and self._payload.is_file:
            self.absent[contender.name] = "for tensors only"
            return
        try:
            if contender.server not in self._running:
                self._running[contender.server] = self._launch(contender.server)
            self._alone(contender)
            self._wait(contender)
        except (NotInstalled, NoAnswer) as exc:
            self.absent[contender.name] = self._why(contender, exc)

    def measure(self, contender: Contender, clients: int, seconds: float) -> Load:
        """One cell."""
        self._alone(contender)
        return self._order(contender, clients, seconds)

    def _launch(self, server: str) -> Running:
        folder = self._folder / server
        folder.mkdir(parents=True)
        launch = SERVERS[server](Place(folder, self._payload, _free_ports(), self._film))
        mark = f"{self._token}-{server}"
        environment = _environment(launch.environment | {MARK: mark})
        with (folder / "log").open("ab") as log:
            if not launch.address:
                return Running(launch, mark, OrderTaker(launch.command, environment, log), None)
            process = subprocess.Popen(launch.command, env=environment, stdout=log, stderr=log, cwd=folder)
            return Running(launch, mark, self._client, process)

    def _wait(self, contender: Contender) -> None:
        process, started_s = self._running[contender.server].process, time.monotonic()
        while True:
            try:
                self._order(contender, clients=1, seconds=0.0, wait_s=READY_STEP_S)
            except NoAnswer as exc:
                now_s = time.monotonic()
                refused = isinstance(exc, NotOffered) and now_s > started_s + REFUSED_LIMIT_S
                ended = process is not None and process.poll() is not None
                if refused or ended or process is None or now_s > started_s + READY_LIMIT_S:
                    raise
                time.sleep(POLL_S)
            else:
                return

    def _order(self, contender: Contender, clients: int, seconds: float, wait_s: float = 0.0) -> Load:
        running = self._running[contender.server]
        address = running.launch.address
        if contender.unix_socket:
            address = f"unix:{self._folder / contender.server / 'state' / 'appliance.sock'}"
        order = Order(
            address=address,
            model=running.launch.model,
            payload=self._payload.name,
            clients=clients,
            seconds=seconds,
            shared_memory=contender.shared_memory,
            mark=running.mark,
            wait_s=wait_s,
        )
        return running.taker.carry_out(order)

    def _alone(self, contender: Contender) -> None:
        for name, running in self._running.items():
            if name != contender.server:
                send(running.mark, signal.SIGSTOP)
        send(self._running[contender.server].mark, signal.SIGCONT)
        time.sleep(SETTLE_S)

    def _why(self, contender: Contender, exc: Exception) -> str:
        log = self._folder / contender.server / "log"
        print(f"{contender.title}: {exc}", file=sys.stderr)
        if log.exists():
            print(log.read_text(errors="replace")[-TAIL_CHARACTERS:], file=sys.stderr)
        return str(exc)


def _environment(more: dict[str, str]) -> dict[str, str]:
    own = {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "build")])}
    return {**os.environ, **own, **more}


def _free_ports() -> int:
    """The first of three that nobody listens on."""
    while True:
        with socket.socket() as first, socket.socket() as second, socket.socket() as third:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
                third.bind(("127.0.0.1", port + 2))
            except (OSError, OverflowError):
                continue
            return port
