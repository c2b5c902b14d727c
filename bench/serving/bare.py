"""The limit: the same engine in the process that asks, with nothing between.

`python -m bench.serving.bare GRAPH FILM STREAMS` takes orders (`bench.serving.loops`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.serving.loops import Caller, Order, take_orders
from bench.serving.payloads import PAYLOADS
from bench.serving.work import BareEngine, FilmReader


class BareCaller:
    """Calls the engine, the decoding of a file included."""

    def __init__(self, engine: BareEngine, order: Order, film: bytes) -> None:
        self._payload = PAYLOADS[order.payload]
        self._engine, self._reader, self._film = engine, FilmReader(engine), film
        self._tensor = self._payload.tensor(film)

    def __call__(self) -> None:
        if self._payload.is_file:
            self._reader(self._film)
        else:
            self._engine(self._tensor)

    def close(self) -> None:
        """Nothing was taken."""


def main() -> None:
    """Take orders, all for one payload."""
    graph, film, streams = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), int(sys.argv[3])
    engines: dict[bool, BareEngine] = {}

    def caller(order: Order, _number: int) -> Caller:
        uint8 = PAYLOADS[order.payload].uint8
        if uint8 not in engines:
            engines[uint8] = BareEngine(graph, uint8=uint8, streams=streams)
        return BareCaller(engines[uint8], order, film)

    take_orders(caller)


if __name__ == "__main__":
    main()
