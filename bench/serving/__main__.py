"""`make bench-serving`: every contender under the same load, in turns, in one run for each payload.

A contender that is not being measured stands still (SIGSTOP). Windows are interleaved: each repeat goes once
through all contenders and numbers of clients. What was measured is kept, so that payloads can be measured one
at a time; the published file holds the newest of each.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from appliance.phantoms.chest_film import chest_phantom
from bench.report import RESULTS, commit, publish
from bench.serving.arena import Arena, NoAnswer
from bench.serving.cells import Cell, Repeat, Session, load_sessions
from bench.serving.contenders import CONTENDERS, INSTANCES, Contender
from bench.serving.environments import REPOSITORY
from bench.serving.payloads import PAYLOADS, Payload
from bench.serving.verdicts import rows

FILM_SIDE_PX, FILM_SEED, FILM_QUALITY = 2048, 3, 90
CLIENTS = (1, 4, 16)


def film() -> bytes:
    """A phantom film as a scanner would send it."""
    image = chest_phantom(np.random.default_rng(FILM_SEED), FILM_SIDE_PX, None).image
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, FILM_QUALITY])
    if not done:
        raise RuntimeError("expected a JPEG and got nothing")
    return data.tobytes()


def measure(payload: Payload, wanted: list[Contender], repeats: int, seconds: float) -> Iterator[Session]:
    """All cells of one payload, after each repeat."""
    console = Console(stderr=True)
    # a short path: Ray's sockets lie below it, and Linux keeps 108 bytes for a socket's path
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        picture = Path(scratch) / "film.jpg"
        picture.write_bytes(film())
        with Arena(payload, Path(scratch), picture) as arena, _progress(console) as progress:
            starting = progress.add_task(f"{payload.title}: starting", total=len(wanted))
            for contender in wanted:
                arena.start(contender)
                progress.advance(starting)
            present = [one for one in wanted if one.name not in arena.absent]
            cells = {
                (one.name, clients): Cell(payload.name, one.name, clients, commit())
                for one in present
                for clients in CLIENTS
            }
            task = progress.add_task(payload.title, total=len(cells) * repeats)
            for number in range(repeats):
                for clients in CLIENTS:
                    for one in present:
                        progress.update(task, description=f"{one.title}, {clients} clients")
                        try:
                            load = arena.measure(one, clients, seconds)
                            cells[one.name, clients].repeats.append(Repeat.of(load))
                        except NoAnswer as exc:
                            arena.absent.setdefault(one.name, f"{clients} clients: {exc}")
                        progress.advance(task)
                complete = [cell for cell in cells.values() if len(cell.repeats) > number]
                yield Session(payload.name, complete, arena.absent)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def main() -> None:
    """Command line of `make bench-serving`."""
    parser = argparse.ArgumentParser(prog="bench.serving", description=__doc__)
    parser.add_argument("--payload", action="append", choices=PAYLOADS, help="only this; may be repeated")
    names = [one.name for one in CONTENDERS]
    parser.add_argument("--contender", action="append", choices=names, help="only this; may be repeated")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one window")
    parser.add_argument("--quick", action="store_true", help="one repeat of one second, nothing published")
    parser.add_argument(
        "--add", action="store_true", help="to the windows of earlier runs, not in their place"
    )
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    repeats, seconds = (1, 1.0) if words.quick else (words.repeats, words.seconds)
    wanted = [one for one in CONTENDERS if one.name in (words.contender or names)]
    kept = REPOSITORY / ".bench" / ("serving-quick" if words.quick else "serving")
    for name in words.payload or PAYLOADS:
        before = load_sessions(kept, [name]) if words.add else []
        for session in measure(PAYLOADS[name], wanted, repeats, seconds):
            (session.after(before[0]) if before else session).save(kept)
    sessions = load_sessions(kept, list(PAYLOADS))
    raw = {
        f"{cell.payload} {cell.contender} {cell.clients} clients, answers a second": [
            one.per_second for one in cell.repeats
        ]
        for session in sessions
        for cell in session.cells
    }
    with tempfile.TemporaryDirectory() as nowhere:
        path = publish(
            "serving",
            rows(sessions),
            raw,
            Path(nowhere) if words.quick else RESULTS,
            details={
                "cells": [cell.summary() for session in sessions for cell in session.cells],
                "absent": {session.payload: session.absent for session in sessions},
                "instances_of_each_peer": INSTANCES,
            },
        )
    if not words.quick:
        print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
