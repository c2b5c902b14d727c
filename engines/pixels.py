"""How a network's image input is made from pixels, where that is a change of type, scale and layout only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.tensor_spec import DYNAMIC, TensorSpec

CHANNELS = 3


@dataclass(frozen=True)
class PixelInput:
    """A network that takes RGB, channels first, each value a pixel's level divided by `divisor`.

    Resizing is no part of it: no runtime has the averaging over areas that the networks were trained with.
    """

    divisor: float

    def __post_init__(self) -> None:
        if not self.divisor > 0:
            raise ValueError(f"divisor: expected a number above 0, got {self.divisor}")

    def spec(self, inputs: Sequence[TensorSpec]) -> TensorSpec:
        """The network's input as pixels: UINT8, channels last.

        Raises:
            ValueError: the network has another kind of input than one image of three channels.
        """
        fits = (
            len(inputs) == 1
            and inputs[0].datatype == "FP32"
            and len(inputs[0].shape) == 4
            and inputs[0].shape[1] == CHANNELS
            and DYNAMIC not in inputs[0].shape[1:]
        )
        if not fits:
            raise ValueError(f"expected one FP32 input of shape [N,{CHANNELS},H,W], got {list(inputs)}")
        batch, channels, height, width = inputs[0].shape
        return TensorSpec(inputs[0].name, "UINT8", (batch, height, width, channels))

    def to_network(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """(N, H, W, 3) levels → (N, 3, H, W) float32, for a runtime that cannot do it inside the graph."""
        planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        return np.asarray(planes / np.float32(self.divisor), dtype=np.float32)
