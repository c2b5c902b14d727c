"""What every contender does with a request: the same OpenVINO call, the same OpenCV steps around it.

Runs in the environments of the peers, so it needs numpy, openvino, OpenCV and
a few leaves of `engines` alone. Each contender loads the same ONNX file and prepares it as our adapter does,
so that all compute the same numbers at the same speed.
"""

from __future__ import annotations

import collections
import os
import queue
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino
from numpy.typing import NDArray

from engines.openvino_pixels import fold_pixels
from engines.openvino_rewrite import shift_activations_to_uint8
from engines.pixels import PixelInput

FILM_SIZE, FILM_FILL = 640, 114
MIN_SCORE, MAX_IOU = 0.25, 0.5
FINDING_COLUMNS = 6
"""x0, y0, x1, y1 on the film, score, class."""


class BareEngine:
    """The network and nothing around it.

    Args:
        graph: ONNX file with one input and any number of outputs.
        uint8: take uint8 0..255, channels last, and divide by 255 inside the network.
        streams: calls that compute at the same time; they share `threads`.
        threads: CPU threads.
    """

    def __init__(self, graph: Path, *, uint8: bool = False, streams: int = 1, threads: int = 0) -> None:
        core = openvino.Core()
        model = core.read_model(str(graph))
        shift_activations_to_uint8(model)
        if uint8:
            model = fold_pixels(model, PixelInput(divisor=255.0))
        compiled = core.compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": threads or len(os.sched_getaffinity(0)),
                "INFERENCE_PRECISION_HINT": "f32",
            },
        )
        self.output_names = [port.get_any_name() for port in compiled.outputs]
        self._gate = threading.Lock()
        self._free: list[Any] = [compiled.create_infer_request() for _ in range(streams)]
        self._waiting: collections.deque[queue.SimpleQueue[Any]] = collections.deque()

    def __call__(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs, in memory of their own."""
        request = self._take()
        try:
            request.infer([array], share_inputs=True, share_outputs=True)
            return [request.get_output_tensor(i).data.copy() for i in range(len(self.output_names))]
        finally:
            self._give(request)

    def _take(self) -> Any:
        with self._gate:
            if self._free:
                return self._free.pop()
            turn: queue.SimpleQueue[Any] = queue.SimpleQueue()
            self._waiting.append(turn)
        return turn.get()

    def _give(self, request: Any) -> None:
        # handed to who waits longest: a caller that asked again at once would take it back for ever
        with self._gate:
            if self._waiting:
                self._waiting.popleft().put(request)
            else:
                self._free.append(request)


class FilmReader:
    """A chest film in, findings out: what a handler around the detector has to do.

    Args:
        engine: the detector, for uint8.
    """

    def __init__(self, engine: BareEngine) -> None:
        self._engine = engine

    def __call__(self, encoded: bytes) -> NDArray[np.float32]:
        """Findings of one encoded image, (N, 6)."""
        grey = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
        if grey is None:
            raise ValueError("expected an image and got something else")
        height, width = grey.shape
        scale = FILM_SIZE / max(height, width)
        inner = cv2.resize(grey, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        top, left = ((FILM_SIZE - side) // 2 for side in inner.shape)
        canvas = np.full((FILM_SIZE, FILM_SIZE), FILM_FILL, np.uint8)
        canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
        levels = cv2.cvtColor(canvas, cv2.COLOR_GRAY2RGB)[None]
        columns = self._engine(levels)[0][0]
        scores = columns[4:].max(axis=0)
        likely = np.flatnonzero(scores >= MIN_SCORE)
        boxes, classes = columns[:4, likely].T, columns[4:, likely].argmax(axis=0)
        corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)
        kept = cv2.dnn.NMSBoxesBatched(
            corners.tolist(), scores[likely].tolist(), classes.tolist(), MIN_SCORE, MAX_IOU
        )
        found = np.empty((len(kept), FINDING_COLUMNS), np.float32)
        for row, index in enumerate(np.asarray(kept, dtype=np.intp).ravel()):
            x, y, w, h = corners[index]
            found[row, :4] = (np.array([x, y, x + w, y + h]) - [left, top, left, top]) / scale
            found[row, 4:] = scores[likely][index], classes[index]
        return found
