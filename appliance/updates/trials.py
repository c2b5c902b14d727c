"""Runs trials in a process of their own: a pack that crashes the runtime fails the gate, never the daemon.

Compiling is a process at low priority that leaves the engine in the compile cache; testing is a second one
at the daemon's own priority, so that its timings mean something.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from appliance.config import Config
from appliance.errors import Cancelled, ReleaseRefused
from appliance.updates.trial import Trial

POLL_S = 0.1
TAIL_CHARACTERS = 600


class Trials(Protocol):
    """Measures packs."""

    def compile(self, pack: Path, cancelled: threading.Event) -> str:
        """Build the engine; its description. ReleaseRefused where the pack cannot be compiled."""
        ...

    def run(self, pack: Path, exams: Mapping[str, Path], cancelled: threading.Event) -> Trial:
        """Measure a pack; a fault of the pack is in the trial."""
        ...


class ChildTrials:
    """Trials in child processes.

    Args:
        config: of the daemon: runtime, threads, compile cache, time limit.
    """

    def __init__(self, config: Config) -> None:
        self._config = config

    def compile(self, pack: Path, cancelled: threading.Event) -> str:
        """See `Trials.compile`."""
        trial = self._child("compile", pack, {}, cancelled)
        if trial.fault:
            raise ReleaseRefused(f"the engine could not be built on this box: {trial.fault}")
        return trial.engine

    def run(self, pack: Path, exams: Mapping[str, Path], cancelled: threading.Event) -> Trial:
        """See `Trials.run`."""
        return self._child("test", pack, exams, cancelled)

    def _child(self, what: str, pack: Path, exams: Mapping[str, Path], cancelled: threading.Event) -> Trial:
        order = {
            "what": what,
            "pack": str(pack),
            "exams": {name: str(path) for name, path in exams.items()},
            "config": self._config.model_dump_json(),
        }
        with subprocess.Popen(
            [sys.executable, "-m", "appliance.updates.trial_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        ) as process:
            try:
                output, errors = _wait(
                    process, json.dumps(order), self._config.releases.trial_s, cancelled.is_set
                )
            finally:
                if process.poll() is None:
                    process.kill()
        try:
            return Trial.from_json(output.strip().rpartition("\n")[2])
        except (ValueError, KeyError, TypeError):
            last = errors.strip().rpartition("\n")[2][-TAIL_CHARACTERS:]
            return Trial(fault=f"the trial ended with status {process.returncode}: {last or 'no word'}")


def _wait(
    process: subprocess.Popen[str], order: str, limit_s: float, cancelled: Callable[[], bool]
) -> tuple[str, str]:
    given: str | None = order
    waited_s = 0.0
    while True:
        try:
            return process.communicate(given, timeout=POLL_S)
        except subprocess.TimeoutExpired:
            given = None
            waited_s += POLL_S
        if cancelled():
            raise Cancelled("the install was cancelled during its trial")
        if waited_s > limit_s:
            return "", f"it took longer than {limit_s:g} s"
