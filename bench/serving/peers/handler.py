"""What every peer's handler calls; its settings come by environment, for each peer starts it differently."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.serving.payloads import PAYLOADS, Payload
from bench.serving.work import BareEngine, FilmReader

PAYLOAD, GRAPH, PORT, INSTANCES = "BENCH_PAYLOAD", "BENCH_GRAPH", "BENCH_PORT", "BENCH_INSTANCES"

Handler = Callable[[NDArray[Any]], list[NDArray[Any]]]


def payload() -> Payload:
    """What will be asked."""
    return PAYLOADS[os.environ[PAYLOAD]]


def port() -> int:
    """Where to answer gRPC; the next two are free as well."""
    return int(os.environ[PORT])


def instances() -> int:
    """Copies of the model."""
    return int(os.environ[INSTANCES])


def load() -> Handler:
    """The model, ready to be asked."""
    engine = BareEngine(Path(os.environ[GRAPH]), uint8=payload().uint8)
    if not payload().is_file:
        return engine
    read = FilmReader(engine)
    return lambda files: [read(files[0])]
