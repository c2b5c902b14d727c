"""What a request costs from 1 to 64 clients: processor time and memory of the daemon, windows in turns."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from bench.report import Row, Target, publish, summarise
from bench.serving.arena import Arena
from bench.serving.cells import Repeat
from bench.serving.contenders import CONTENDERS
from bench.serving.payloads import PAYLOADS

CLIENTS = (1, 2, 4, 8, 16, 32, 64)
FLAT = Target(1.1)
SETTLING_S = 1.0
OURS = next(one for one in CONTENDERS if one.name == "ours-tcp")


def measure(payload: str, repeats: int, seconds: float) -> dict[int, list[Repeat]]:
    """Windows for each number of clients."""
    found: dict[int, list[Repeat]] = {clients: [] for clients in CLIENTS}
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch,
        Arena(PAYLOADS[payload], Path(scratch), Path(scratch) / "none") as arena,
        Progress(console=Console(stderr=True)) as progress,
    ):
        arena.start(OURS)
        if arena.absent:
            raise RuntimeError(f"expected a daemon that answers and got: {arena.absent[OURS.name]}")
        arena.measure(OURS, max(CLIENTS), SETTLING_S)  # every pool has its size before anything is weighed
        task = progress.add_task("scale", total=repeats * len(CLIENTS))
        for _ in range(repeats):
            for clients in CLIENTS:
                found[clients].append(Repeat.of(arena.measure(OURS, clients, seconds)))
                progress.advance(task)
    return found


def rows(found: dict[int, list[Repeat]]) -> list[Row]:
    """Cost by number of clients, and the highest number against one."""
    one, most = min(found), max(found)
    cost = [a.server_cpu_ms / b.server_cpu_ms for a, b in zip(found[most], found[one], strict=True)]
    memory = [a.resident_mb / b.resident_mb for a, b in zip(found[most], found[one], strict=True)]
    table = [summarise(f"processor time of a request, {most} clients / {one}", cost, "", FLAT)]
    table.append(summarise(f"memory, {most} clients / {one}", memory, "", FLAT))
    for clients, repeats in found.items():
        label = f"{clients} clients: "
        table.append(
            summarise(label + "processor time of a request", [r.server_cpu_ms for r in repeats], "ms")
        )
        table.append(summarise(label + "answers", [r.per_second for r in repeats], "/s"))
        table.append(summarise(label + "memory", [r.resident_mb for r in repeats], "MB"))
    return table


def main() -> None:
    """Command line of `make bench-scale`."""
    parser = argparse.ArgumentParser(prog="bench.scale", description=__doc__)
    names = [name for name, payload in PAYLOADS.items() if not payload.is_file]
    parser.add_argument("--payload", choices=names, default="uint8")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one window")
    words = parser.parse_args()
    found = measure(words.payload, words.repeats, words.seconds)
    refused = {str(clients): sum(r.refused for r in repeats) for clients, repeats in found.items()}
    details = {"payload": words.payload, "told_to_come_again": refused}
    print(f"\nwritten to {publish('scale', rows(found), {}, details=details)}")


if __name__ == "__main__":
    main()
