"""Film → the detector's square input, and boxes in that input → boxes on the film, exactly."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.models.film_contract import FilmContract

_FLOATS = {"FP32": np.float32, "FP16": np.float16}


@dataclass(frozen=True)
class Letterbox:
    """Where a film lies in the square input.

    Width and height have scales of their own, because the scaled film is rounded to whole pixels: with one
    common scale, boxes on a long film would be off by up to half an input pixel times the film's scale.
    """

    width: int  # of the film, in pixels
    height: int
    inner_width: int  # of the scaled film, in input pixels
    inner_height: int
    left: int  # first column and row of the scaled film in the input
    top: int

    @classmethod
    def fit(cls, width: int, height: int, size: int) -> Letterbox:
        """Place a film of `width` × `height` pixels centrally in a `size` × `size` input."""
        scale = size / max(width, height)
        inner_width = max(1, round(width * scale))
        inner_height = max(1, round(height * scale))
        return cls(
            width, height, inner_width, inner_height, (size - inner_width) // 2, (size - inner_height) // 2
        )

    def to_input(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring (N, 4) boxes x0, y0, x1, y1 from film pixels to input pixels."""
        return np.asarray(boxes * self._steps() + self._offset(), dtype=np.float64)

    def to_film(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring (N, 4) boxes x0, y0, x1, y1 from input pixels to film pixels, cut at the film's borders."""
        on_film = (boxes - self._offset()) / self._steps()
        limits = np.array([self.width, self.height, self.width, self.height], dtype=np.float64)
        return np.asarray(np.clip(on_film, 0.0, limits), dtype=np.float64)

    def _steps(self) -> NDArray[np.float64]:
        return np.array(
            [self.inner_width / self.width, self.inner_height / self.height] * 2, dtype=np.float64
        )

    def _offset(self) -> NDArray[np.float64]:
        return np.array([self.left, self.top] * 2, dtype=np.float64)


def film_input(grey: NDArray[np.uint8], contract: FilmContract) -> tuple[NDArray[np.floating], Letterbox]:
    """Scale and pad a film to the detector's input; the one place where grey levels are divided.

    Args:
        grey: (H, W) uint8, so never divided before.
        contract: size, fill, divisor and datatype of the input.

    Returns:
        (1, 3, size, size) RGB in 0..1 (0..255 where the graph divides by itself), and where the film lies.

    Raises:
        TypeError: not uint8: the film would have been scaled already.
    """
    square, box = _square(grey, contract)
    levels = np.arange(256, dtype=np.float32) / np.float32(contract.divisor)
    plane = np.take(levels.astype(_FLOATS[contract.datatype]), square)
    return np.ascontiguousarray(np.broadcast_to(plane, (1, 3, contract.size, contract.size))), box


def film_pixels(grey: NDArray[np.uint8], contract: FilmContract) -> tuple[NDArray[np.uint8], Letterbox]:
    """The same for an engine that takes pixels and divides by itself: (1, size, size, 3) uint8 RGB."""
    square, box = _square(grey, contract)
    return np.asarray(cv2.cvtColor(square, cv2.COLOR_GRAY2RGB), dtype=np.uint8)[None], box


def _square(grey: NDArray[np.uint8], contract: FilmContract) -> tuple[NDArray[np.uint8], Letterbox]:
    if grey.dtype != np.uint8:
        raise TypeError(f"expected grey levels as uint8, not scaled before, and got {grey.dtype}")
    size = contract.size
    height, width = grey.shape
    box = Letterbox.fit(width, height, size)
    shrinking = box.inner_width < width
    how = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    inner = cv2.resize(grey, (box.inner_width, box.inner_height), interpolation=how)
    square = np.full((size, size), contract.fill, dtype=np.uint8)
    square[box.top : box.top + box.inner_height, box.left : box.left + box.inner_width] = inner
    return square, box
