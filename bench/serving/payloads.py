"""What is sent: four payloads, each with the model file that answers it and what a client has to know.

Read by the client and by the servers of the peers in their own environments, so it needs numpy alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEED = 11
CROPS = 46
"""The chromosomes of one normal cell."""


@dataclass(frozen=True)
class Payload:
    """One kind of request."""

    name: str
    title: str
    pack: str  # folder of the factory pack whose model file answers
    input_name: str
    datatype: str
    shape: tuple[int, ...]
    outputs: tuple[tuple[str, str, tuple[int, ...]], ...]  # of the peers: name, datatype, shape
    our_model: str  # what ours is called

    @property
    def uint8(self) -> bool:
        """Whether the network itself takes uint8."""
        return self.datatype != "FP32"

    @property
    def is_file(self) -> bool:
        """Whether an encoded image is sent."""
        return self.datatype == "BYTES"

    def tensor(self, film: bytes) -> NDArray[Any]:
        """What is sent; `film` where it is a file."""
        rng = np.random.default_rng(SEED)
        if self.is_file:
            return np.array([film], dtype=object)
        if self.datatype == "UINT8":
            return rng.integers(0, 256, self.shape, np.uint8)
        return rng.random(self.shape, np.float32)


_FILM = (1, 3, 640, 640)
_FILM_LEVELS = (1, 640, 640, 3)
_GRID = (("output0", "FP32", (1, 18, 8400)),)

PAYLOADS = {
    payload.name: payload
    for payload in (
        Payload(
            "fp32",
            "YOLO11n, FP32 tensor",
            "chest-xray-demonstration",
            "images",
            "FP32",
            _FILM,
            _GRID,
            "chest-xray-demonstration",
        ),
        Payload(
            "uint8",
            "YOLO11n, uint8 tensor",
            "chest-xray-demonstration",
            "images",
            "UINT8",
            _FILM_LEVELS,
            _GRID,
            "chest-xray-demonstration-uint8",
        ),
        Payload(
            "jpeg",
            "YOLO11n, JPEG of a film",
            "chest-xray-demonstration",
            "image",
            "BYTES",
            (1,),
            (("findings", "FP32", (-1, 6)),),
            "chest_xray",
        ),
        Payload(
            "crops",
            f"classifier, {CROPS} crops",
            "chromosome-classifier",
            "crops",
            "FP32",
            (CROPS, 1, 128, 96),
            (("class_logits", "FP32", (-1, 24)), ("polarity_logit", "FP32", (-1, 1))),
            "chromosome-classifier",
        ),
    )
}

PEER_MODEL = "payload"
"""What every peer calls its model."""
