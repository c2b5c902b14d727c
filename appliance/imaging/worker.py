"""The decoder process: reads images from a socket on its standard input, decodes, answers, and may die of it.

`python -m appliance.imaging.worker LIMITS_AS_JSON`, started by `decoder.ImageDecoder` only. It bounds itself
before it looks at the first byte of an image: address space, no files written, no core dumps (they would hold
patient data), and an alarm that kills it if a decode outlives its time while nobody is left to do so.
"""

from __future__ import annotations

import json
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import cv2

from appliance.errors import CorruptImage, ImageTooLarge, InvalidInput
from appliance.imaging import wire
from appliance.imaging.decoding import decode_here
from appliance.imaging.film_tags import to_tree
from appliance.imaging.image import ImageLimits

FOREVER_S = float("inf")
ALARM_GRACE_S = 2.0  # beyond the decode limit, at which the daemon kills from outside
MEMORY_FLOOR_BYTES = 512 * 2**20  # libraries loaded later and working space
BYTES_PER_PIXEL = 16  # 16-bit RGBA is 8, plus its luma, 8-bit grey and the reply
COPIES_OF_INPUT = 3  # as received, as a data set, as a frame
MAX_OPEN_FILES = 64


def main() -> None:
    """Serve one connection until the daemon closes it."""
    limits = ImageLimits(**json.loads(sys.argv[1]))
    _confine(limits)
    with socket.socket(fileno=sys.stdin.fileno()) as connection:
        try:
            wire.send(connection, {"ready": True}, b"", FOREVER_S)
            while True:
                wish, size_bytes = wire.receive_head(connection, FOREVER_S)
                data = wire.receive_exactly(connection, size_bytes, FOREVER_S)
                _answer(connection, data, limits, bool(wish.get("for_report")))
                del data
        except wire.HangupError:
            return


def _answer(connection: socket.socket, data: bytes, limits: ImageLimits, for_report: bool) -> None:
    signal.setitimer(signal.ITIMER_REAL, limits.decode_time_s + ALARM_GRACE_S)
    try:
        head, pixels = _decoded(data, limits, for_report)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    wire.send(connection, head, pixels, FOREVER_S)


def _decoded(data: bytes, limits: ImageLimits, for_report: bool) -> tuple[dict[str, Any], memoryview]:
    try:
        image = decode_here(data, limits, for_report)
    except InvalidInput as exc:
        return {"error": type(exc).__name__, "message": str(exc)}, memoryview(b"")
    except MemoryError:
        exceeded = ImageTooLarge("expected an image that decodes in the memory there is and got a larger one")
        return {"error": type(exceeded).__name__, "message": str(exceeded)}, memoryview(b"")
    except Exception:  # task edge: whatever a decoder made of these bytes, the next image deserves an answer
        broken = CorruptImage("expected an image that decodes and got one that fails in an unforeseen way")
        return {"error": type(broken).__name__, "message": str(broken)}, memoryview(b"")
    head = {
        "width": image.width,
        "height": image.height,
        "media_type": image.media_type.value,
        "source_bit_depth": image.source_bit_depth,
        "modality_hint": image.modality_hint.value if image.modality_hint else None,
        "pixel_size_um": image.pixel_size_um,
        "tags": to_tree(image.tags),
        "references": to_tree(image.references),
    }
    return head, image.grey.reshape(-1).data


def _confine(limits: ImageLimits) -> None:
    cv2.setNumThreads(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the daemon drains first and then closes the connection
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # kills, also from inside a native decoder
    used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    work_bytes = limits.max_pixels * BYTES_PER_PIXEL + limits.max_bytes * COPIES_OF_INPUT
    for kind, bound in (
        (resource.RLIMIT_AS, used_bytes + MEMORY_FLOOR_BYTES + work_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
    ):
        _, hard = resource.getrlimit(kind)
        lowest = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (lowest, lowest))


if __name__ == "__main__":
    main()
