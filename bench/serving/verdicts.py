"""From cells to rows with targets: against the bare engine, and against the best of the peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.report import Row, Target, summarise
from bench.serving.cells import Cell, Session
from bench.serving.contenders import CONTENDERS
from bench.serving.payloads import PAYLOADS

SATURATION = Target(0.95, at_most=False)
ADDED_MS = Target(2.0)
NO_LESS, NO_MORE = Target(1.0, at_most=False), Target(1.0)
BARE = ("bare-1", "bare-2")
LIKE_FOR_LIKE = {"ours-tcp": False, "ours-streams": False, "ours-shm": True}
"""Each of ours is held against the peers that get their tensors in the same way: in shared memory or not."""


def rows(sessions: Sequence[Session]) -> list[Row]:
    """Every comparison that was measured."""
    found: list[Row] = []
    for session in sessions:
        found += against_bare(session)
        found += against_peers(session)
    return found


def against_bare(session: Session) -> list[Row]:
    """Throughput at the highest concurrency, and what a request takes beyond the bare engine when alone."""
    title = PAYLOADS[session.payload].title
    found = []
    most = max((cell.clients for cell in session.cells), default=0)
    limits = [cell for name in BARE if (cell := session.cell(name, most))]
    for name in ("ours-tcp", "ours-unix", "ours-shm", "ours-streams"):
        cell = session.cell(name, most)
        if cell and limits:
            limit = max(limits, key=lambda one: one.per_second)
            ratios = [a.per_second / b.per_second for a, b in zip(cell.repeats, limit.repeats, strict=False)]
            held = SATURATION if session.payload in {"uint8", "jpeg"} else None
            label = f"{title}: throughput of {_title(name)} / bare engine, {most} clients"
            found.append(summarise(label, ratios, "", held))
        alone, bare = session.cell(name, 1), session.cell("bare-1", 1)
        if alone and bare:
            added = [
                _median(a.latencies_ms) - _median(b.latencies_ms)
                for a, b in zip(alone.repeats, bare.repeats, strict=False)
            ]
            held = ADDED_MS if name == "ours-shm" else None
            found.append(
                summarise(f"{title}: p50 of {_title(name)} − bare engine, 1 client", added, "ms", held)
            )
    return found


def against_peers(session: Session) -> list[Row]:
    """Ours over the best peer, for each number of clients and each measure."""
    title = PAYLOADS[session.payload].title
    measures: tuple[tuple[str, Callable[[Cell], float], Target], ...] = (
        ("throughput", lambda cell: cell.per_second, NO_LESS),
        ("p50", lambda cell: cell.percentile_ms(50), NO_MORE),
        ("p99", lambda cell: cell.percentile_ms(99), NO_MORE),
        ("memory", lambda cell: cell.resident_mb, NO_MORE),
    )
    found = []
    for name, in_region in LIKE_FOR_LIKE.items():
        rivals = [one.name for one in CONTENDERS if one.peer and one.shared_memory == in_region]
        for clients in sorted({cell.clients for cell in session.cells}):
            ours = session.cell(name, clients)
            peers = [cell for rival in rivals if (cell := session.cell(rival, clients))]
            if ours is None or not peers:
                continue
            for word, measure, target in measures:
                best = (min if target.at_most else max)(peers, key=measure)
                pair = f"{_title(name)} / best peer ({_title(best.contender)})"
                label = f"{title}: {word} of {pair}, {clients} clients"
                found.append(summarise(label, [measure(ours) / measure(best)], "", target))
    return found


def _title(name: str) -> str:
    return next(one.title for one in CONTENDERS if one.name == name)


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
