"""The processes of a contender, found by a mark in their environment: their processor time and memory.

A server may start helpers that outlive or leave their parent; the environment they inherit stays. Linux only.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

MARK = "BENCH_CONTENDER"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STOP_LIMIT_S = 20.0
POLL_S = 0.05


@dataclass(frozen=True)
class Usage:
    """What all processes of a contender have taken together."""

    cpu_s: float
    resident_mb: float  # 10⁶ bytes; a page shared by n processes counts 1/n for each (Pss of proc(5))


def marked(mark: str) -> list[int]:
    """Processes with `mark`; none where the mark is empty."""
    if not mark:
        return []
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def usage(mark: str) -> Usage:
    """Processor time and memory of the processes with `mark`."""
    cpu_s, resident = 0.0, 0
    for pid in marked(mark):
        try:
            # after the name in parentheses: utime and stime are fields 14 and 15 of proc(5)
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        cpu_s += (int(fields[11]) + int(fields[12])) / TICKS_PER_S
        resident += next((int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:")), 0)
    return Usage(cpu_s, resident / 1e6)


def send(mark: str, number: signal.Signals) -> None:
    """Send a signal to every process with `mark`."""
    for pid in marked(mark):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def end(mark: str) -> None:
    """Ask all of them to end, wait, and make the rest."""
    send(mark, signal.SIGCONT)
    send(mark, signal.SIGTERM)
    until_s = time.monotonic() + STOP_LIMIT_S
    while marked(mark) and time.monotonic() < until_s:
        time.sleep(POLL_S)
    send(mark, signal.SIGKILL)
