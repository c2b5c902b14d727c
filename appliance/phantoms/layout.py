"""Where the chromosomes of a spread lie: apart, touching a neighbour, or across one another.

Placement works on a coarse occupancy grid, so that hundreds of tries cost milliseconds.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

_GRID = 2
"""Field pixels per cell of the occupancy grid."""

_TRIES = 400
_GROWTH = 1.06
"""When nothing fits, the spread's radius is enlarged by this factor, up to the field's border."""


class Contact(enum.Enum):
    """How a chromosome meets the ones that were placed before it."""

    APART = "apart"  # a clear gap on all sides
    TOUCHING = "touching"  # outlines meet, no pixel is shared
    OVERLAPPING = "overlapping"  # lies across another one


@dataclass(frozen=True)
class Position:
    """Upper left corner of a chromosome's window in the field, in pixels."""

    left: int
    top: int


@dataclass
class SpreadLayout:
    """Places windows one after the other inside an ellipse of a field of `shape` (H, W)."""

    shape: tuple[int, int]
    centre: tuple[float, float]
    radius_px: float
    rng: np.random.Generator
    _grid: NDArray[np.uint8] = field(init=False)
    _placed: list[tuple[NDArray[np.bool_], Position]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._grid = np.zeros((self.shape[0] // _GRID + 1, self.shape[1] // _GRID + 1), dtype=np.uint8)

    def block(self, mask: NDArray[np.bool_], position: Position) -> None:
        """Keep chromosomes off a thing (a nucleus) that already lies in the field."""
        self._mark(_coarse(mask), position)

    def place(self, mask: NDArray[np.bool_], contact: Contact) -> Position:
        """Find a place for one chromosome's (h, w) mask.

        A wish to touch or overlap that no try fulfils falls back to a place apart.

        Raises:
            ValueError: when the field is too small to hold the chromosome at all.
        """
        coarse = _coarse(mask)
        if mask.shape[0] >= self.shape[0] or mask.shape[1] >= self.shape[1]:
            raise ValueError(f"expected a field larger than {mask.shape} and got {self.shape}")
        position = None
        if contact is not Contact.APART and self._placed:
            position = self._against(mask, coarse, contact)
        if position is None:
            position = self._apart(mask.shape, coarse)
        self._mark(coarse, position)
        self._placed.append((mask, position))
        return position

    def _mark(self, coarse: NDArray[np.uint8], position: Position) -> None:
        window = self._window(coarse.shape, position)
        np.maximum(window, coarse[: window.shape[0], : window.shape[1]], out=window)

    def _window(self, shape: tuple[int, ...], position: Position) -> NDArray[np.uint8]:
        top, left = position.top // _GRID, position.left // _GRID
        return self._grid[top : top + shape[0], left : left + shape[1]]

    def _apart(self, shape: tuple[int, ...], coarse: NDArray[np.uint8]) -> Position:
        bordered = cv2.copyMakeBorder(coarse, 2, 2, 2, 2, cv2.BORDER_CONSTANT)
        padded = np.asarray(cv2.dilate(bordered, np.ones((5, 5), np.uint8)), dtype=np.uint8)
        radius, best, least = self.radius_px, Position(0, 0), math.inf
        for attempt in range(_TRIES):
            position = self._random_position(shape, radius)
            around = Position(max(position.left - 2 * _GRID, 0), max(position.top - 2 * _GRID, 0))
            window = self._window(padded.shape, around)
            shared = int(np.count_nonzero(window & padded[: window.shape[0], : window.shape[1]]))
            if shared == 0:
                return position
            if shared < least:
                best, least = position, shared
            if attempt % 20 == 19:
                radius *= _GROWTH
        return best

    def _random_position(self, shape: tuple[int, ...], radius: float) -> Position:
        angle = float(self.rng.uniform(0.0, 2.0 * math.pi))
        distance = radius * math.sqrt(float(self.rng.random()))
        x = self.centre[0] + distance * math.cos(angle) - shape[1] / 2.0
        y = self.centre[1] + distance * math.sin(angle) - shape[0] / 2.0
        return Position(
            left=int(np.clip(x, 1, self.shape[1] - shape[1] - 1)),
            top=int(np.clip(y, 1, self.shape[0] - shape[0] - 1)),
        )

    def _against(
        self, mask: NDArray[np.bool_], coarse: NDArray[np.uint8], contact: Contact
    ) -> Position | None:
        """Slide towards a random neighbour until the masks meet, or on until they cross."""
        for _ in range(12):
            other, at = self._placed[int(self.rng.integers(len(self._placed)))]
            target = np.array([at.left + other.shape[1] / 2.0, at.top + other.shape[0] / 2.0])
            target += self.rng.normal(0.0, 0.2, 2) * other.shape[::-1]
            angle = float(self.rng.uniform(0.0, 2.0 * math.pi))
            step = np.array([math.cos(angle), math.sin(angle)])
            far = 0.5 * (max(mask.shape) + max(other.shape)) + 4.0
            wanted = 0 if contact is Contact.TOUCHING else int(mask.sum() * self.rng.uniform(0.08, 0.3))
            last: Position | None = None
            for distance in np.arange(far, -1.0, -1.0):
                corner = target + step * distance - np.array(mask.shape[::-1]) / 2.0
                position = Position(round(corner[0]), round(corner[1]))
                shared = _shared(mask, position, other, at)
                if shared > wanted:
                    break
                last = position if shared > 0 or contact is Contact.TOUCHING else None
            else:
                continue
            if contact is Contact.OVERLAPPING:
                last = position
            if last is not None and self._fits(mask.shape, coarse, last, other, at):
                return last
        return None

    def _fits(
        self,
        shape: tuple[int, ...],
        coarse: NDArray[np.uint8],
        position: Position,
        other: NDArray[np.bool_],
        at: Position,
    ) -> bool:
        """Inside the field, and on nothing but the chosen neighbour."""
        inside_x = 1 <= position.left < self.shape[1] - shape[1] - 1
        inside_y = 1 <= position.top < self.shape[0] - shape[0] - 1
        if not (inside_x and inside_y):
            return False
        grid = self._window(coarse.shape, position)
        taken = int(np.count_nonzero(grid & coarse[: grid.shape[0], : grid.shape[1]]))
        allowed = _shared(coarse > 0, _down(position), _coarse(other) > 0, _down(at))
        return taken <= allowed + 4


def _down(position: Position) -> Position:
    return Position(position.left // _GRID, position.top // _GRID)


def _coarse(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(mask[::_GRID, ::_GRID]).astype(np.uint8)


def _shared(mask: NDArray[np.bool_], position: Position, other: NDArray[np.bool_], at: Position) -> int:
    """Number of field pixels that two placed masks share."""
    left, top = max(position.left, at.left), max(position.top, at.top)
    right = min(position.left + mask.shape[1], at.left + other.shape[1])
    bottom = min(position.top + mask.shape[0], at.top + other.shape[0])
    if right <= left or bottom <= top:
        return 0
    mine = mask[top - position.top : bottom - position.top, left - position.left : right - position.left]
    theirs = other[top - at.top : bottom - at.top, left - at.left : right - at.left]
    return int(np.count_nonzero(mine & theirs))
