"""What was measured, a cell for each payload, contender and number of clients; kept until measured again."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.serving.loops import Load


@dataclass(frozen=True)
class Repeat:
    """One window of one cell."""

    latencies_ms: list[float]
    per_second: float
    server_cpu_ms: float  # for each request
    client_cpu_ms: float
    resident_mb: float
    refused: int

    @classmethod
    def of(cls, load: Load) -> Repeat:
        """What a load amounts to."""
        count = len(load.latencies_ms)
        return cls(
            [round(one, 3) for one in load.latencies_ms],
            (count - 1) / load.answers_s,
            load.server_cpu_s / count * 1e3,
            load.client_cpu_s / count * 1e3,
            load.resident_mb,
            load.refused,
        )


@dataclass
class Cell:
    """All windows of one payload, contender and number of clients."""

    payload: str
    contender: str
    clients: int
    commit: str
    repeats: list[Repeat] = field(default_factory=list)

    @property
    def latencies_ms(self) -> list[float]:
        """Of all windows, in order of size."""
        return sorted(one for repeat in self.repeats for one in repeat.latencies_ms)

    @property
    def per_second(self) -> float:
        """Answers a second, the median window's."""
        return statistics.median(repeat.per_second for repeat in self.repeats)

    def percentile_ms(self, percent: float) -> float:
        """A latency that `percent` of the answers did not exceed."""
        ordered = self.latencies_ms
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]

    @property
    def resident_mb(self) -> float:
        """Memory of all processes, the median window's."""
        return statistics.median(repeat.resident_mb for repeat in self.repeats)

    def summary(self) -> dict[str, Any]:
        """One line of the results."""
        return {
            "payload": self.payload,
            "contender": self.contender,
            "clients": self.clients,
            "commit": self.commit,
            "n": len(self.latencies_ms),
            "p50_ms": round(self.percentile_ms(50), 2),
            "p95_ms": round(self.percentile_ms(95), 2),
            "p99_ms": round(self.percentile_ms(99), 2),
            "per_second": round(self.per_second, 2),
            "per_second_repeats": [round(repeat.per_second, 2) for repeat in self.repeats],
            "server_cpu_ms": round(statistics.median(one.server_cpu_ms for one in self.repeats), 2),
            "client_cpu_ms": round(statistics.median(one.client_cpu_ms for one in self.repeats), 2),
            "resident_mb": round(self.resident_mb, 1),
            "refused": sum(repeat.refused for repeat in self.repeats),
        }


@dataclass
class Session:
    """One payload's cells, and who has none and why."""

    payload: str
    cells: list[Cell]
    absent: dict[str, str]

    def cell(self, contender: str, clients: int) -> Cell | None:
        """The cell, None where there is none."""
        found = (one for one in self.cells if one.contender == contender and one.clients == clients)
        return next(found, None)

    def after(self, earlier: Session) -> Session:
        """The same with the windows of an earlier run before these."""
        cells = []
        for cell in self.cells:
            before = earlier.cell(cell.contender, cell.clients)
            cells.append(replace(cell, repeats=[*(before.repeats if before else ()), *cell.repeats]))
        measured = {(cell.contender, cell.clients) for cell in self.cells}
        cells += [one for one in earlier.cells if (one.contender, one.clients) not in measured]
        return Session(self.payload, cells, {**earlier.absent, **self.absent})

    def save(self, folder: Path) -> None:
        """Keep it for the runs that measure the other payloads."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.payload}.json").write_text(json.dumps(asdict(self)))


def load_sessions(folder: Path, payloads: Sequence[str]) -> list[Session]:
    """What was kept, in the order of `payloads`."""
    found = []
    for name in payloads:
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        tree = json.loads(path.read_text())
        cells = [
            Cell(**{**cell, "repeats": [Repeat(**one) for one in cell["repeats"]]}) for cell in tree["cells"]
        ]
        found.append(Session(tree["payload"], cells, tree["absent"]))
    return found
