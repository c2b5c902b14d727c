"""`DecoderProcess`: one decoder worker as the daemon sees it, from its start to its end."""

from __future__ import annotations

import json
import logging
import os
import selectors
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import appliance
from appliance import errors
from appliance.analysis import Modality
from appliance.clock import Deadline
from appliance.errors import CorruptImage, DeadlineExceeded, DecodeTimeout, InvalidInput, Unavailable
from appliance.imaging import wire
from appliance.imaging.film_tags import parse_references, parse_tags
from appliance.imaging.image import Image, ImageLimits, MediaType

START_TIME_S = 30.0  # for a worker to load its libraries: 0.2 s on a warm x86 box, seconds on a cold Jetson
STOP_TIME_S = 2.0  # for an idle worker to leave after its connection closed, before it is killed
DEADLINE_GRACE_S = 0.25  # a decode that ends this soon after the caller's deadline does not cost a worker

# One thread and one heap: a worker decodes one image at a time and shall stay small. The two thresholds let
# it reuse the pages of the last image (up to 64 MiB) instead of faulting in new ones: 2 to 5 ms a spread.
_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "67108864",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_LOG_LEVEL": "SILENT",
    "PYTHONDONTWRITEBYTECODE": "1",
}
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "LANG", "VIRTUAL_ENV")  # a daemon's others may hold secrets
_REFUSALS: dict[str, type[InvalidInput]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, InvalidInput)
}
_log = logging.getLogger(__name__)


class DecoderProcess:
    """A started `appliance.imaging.worker`; used by one thread at a time."""

    def __init__(self, limits: ImageLimits) -> None:
        """Start the process and return at once; its first `decode` waits until it is ready.

        Raises:
            Unavailable: the machine cannot start a process.
        """
        self.images = 0  # decoded or refused so far
        self._limits = limits
        self._ready = False
        self._in_step = True  # neither side waits for the rest of a message
        self._connection, theirs = socket.socketpair()
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-s", "-m", "appliance.imaging.worker", json.dumps(asdict(limits))],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # decoders print what they like there, patient data included
                cwd="/",
                env=_environment(),
                start_new_session=True,  # a terminal's Ctrl-C is for the daemon, which drains first
            )
        except OSError as exc:
            self._connection.close()
            raise Unavailable("expected to start an image decoder process and the system refused") from exc
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        """Process id."""
        return int(self._process.pid)

    @property
    def usable(self) -> bool:
        """Whether the process runs and listens for the next image."""
        return self._in_step and self._process.poll() is None

    def wait_ready(self, deadline: Deadline) -> None:
        """Wait until the process has loaded its libraries.

        Raises:
            DeadlineExceeded: the caller's time ran out first; the process goes on starting.
            Unavailable: the process ended, or did not get ready in START_TIME_S.
        """
        if self._ready:
            return
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            spoke = selector.select(max(0.0, min(START_TIME_S, deadline.remaining_s())))
        if not spoke:
            deadline.check()
        try:
            wire.receive_head(self._connection, time.monotonic() + (1.0 if spoke else 0.0))
        except (TimeoutError, wire.HangupError) as exc:
            self.kill()
            raise Unavailable(
                f"expected an image decoder process to get ready and got status {self._process.returncode}"
            ) from exc
        self._ready = True

    def decode(self, data: bytes, deadline: Deadline, for_report: bool = False) -> Image:
        """Decode one image there; after an error look at `usable`.

        Raises:
            InvalidInput: in one of its forms; CorruptImage also where the bytes ended the process.
            DecodeTimeout: it took longer than the limits allow; the process was killed.
            DeadlineExceeded: the caller's deadline (and a little grace) passed; the process was killed.
            Unavailable: the process did not start.
        """
        self.wait_ready(deadline)
        started_s = time.monotonic()
        limit_s = started_s + self._limits.decode_time_s
        until_s = min(limit_s, started_s + max(0.0, deadline.remaining_s()) + DEADLINE_GRACE_S)
        self._in_step = False
        self.images += 1
        try:
            wire.send(self._connection, {"for_report": for_report}, data, until_s)
            head, size_bytes = wire.receive_head(self._connection, until_s)
            refusal = _refusal(head)
            image = None if refusal else self._receive_image(head, size_bytes, until_s)
        except TimeoutError as exc:
            self.kill()
            if until_s < limit_s:
                raise DeadlineExceeded("the caller's deadline passed while the image was decoded") from exc
            _log.warning(
                "image decoder killed: %d bytes took over %g s", len(data), self._limits.decode_time_s
            )
            raise DecodeTimeout(
                f"expected an image that decodes within {self._limits.decode_time_s:g} s and got a slower one"
            ) from exc
        except (wire.HangupError, KeyError, TypeError, ValueError) as exc:
            self.kill()
            _log.warning(
                "image decoder ended with status %s on %d bytes", self._process.returncode, len(data)
            )
            raise CorruptImage(
                "expected an image that decodes and got one that ended its decoder process"
            ) from exc
        self._in_step = True
        if image is None:
            raise refusal or CorruptImage("expected an image and got none")
        return image

    def stop(self) -> None:
        """Let an idle process end by itself, and kill it if it does not."""
        self._connection.close()
        try:
            self._process.wait(STOP_TIME_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process now and reap it."""
        self._in_step = False
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _receive_image(self, head: dict[str, Any], size_bytes: int, until_s: float) -> Image:
        """The image behind `head`; the worker is not trusted to keep to the limits or the format."""
        width, height = int(head["width"]), int(head["height"])
        self._limits.check_size(width, height)
        if size_bytes != width * height:
            raise ValueError(f"expected {width * height} bytes of pixels and got {size_bytes}")
        grey = np.empty((height, width), np.uint8)
        wire.receive_into(self._connection, grey.reshape(-1).data, until_s)
        hint, pixel_size_um = head["modality_hint"], head["pixel_size_um"]
        return Image(
            grey=grey,
            media_type=MediaType(head["media_type"]),
            source_bit_depth=int(head["source_bit_depth"]),
            modality_hint=None if hint is None else Modality(hint),
            pixel_size_um=None if pixel_size_um is None else float(pixel_size_um),
            tags=parse_tags(head["tags"]),
            references=parse_references(head["references"]),
        )


def _refusal(head: dict[str, Any]) -> InvalidInput | None:
    """The error that a reply stands for, or None for an image."""
    name = head.get("error")
    return None if name is None else _REFUSALS[name](str(head["message"]))


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    root = str(
        Path(appliance.__file__).resolve().parent.parent
    )  # the same appliance as here, wherever it lies
    inherited = os.environ.get("PYTHONPATH")
    return {
        **kept,
        **_ENVIRONMENT,
        "PYTHONPATH": os.pathsep.join([root, *([inherited] if inherited else [])]),
    }
