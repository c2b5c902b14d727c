"""Stored DICOM values → 8-bit grey as a viewer shows them: modality LUT, VOI LUT or window, sense of grey.

Everything is folded into one table over all values that the stored bits allow, so that a film costs one
look-up a pixel. Source: DICOM PS3.3, C.11.1 (modality LUT), C.11.2 (VOI LUT; window functions in C.11.2.1.2
and C.11.2.1.3), C.7.6.3.1.2 (photometric interpretation); PS3.4, N.2 (the order of the transformations).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Stored = NDArray[np.uint8] | NDArray[np.int8] | NDArray[np.uint16] | NDArray[np.int16]


class WindowFunction(enum.Enum):
    """VOI LUT Function (0028,1056)."""

    LINEAR = "LINEAR"  # the default: centre − 0.5 and width − 1 count
    LINEAR_EXACT = "LINEAR_EXACT"  # centre and width as they are
    SIGMOID = "SIGMOID"  # soft ends


@dataclass(frozen=True)
class Window:
    """Which modality values are shown between black and white."""

    centre: float  # modality units
    width: float  # modality units, > 0
    function: WindowFunction = WindowFunction.LINEAR

    def __post_init__(self) -> None:
        if not (np.isfinite(self.centre) and np.isfinite(self.width) and self.width > 0):
            raise ValueError(
                f"expected a finite window of positive width and got {self.centre}, {self.width}"
            )

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Modality values → 0…1."""
        if self.function is WindowFunction.SIGMOID:
            exponent = np.clip(-4 * (values - self.centre) / self.width, -700, 700)
            return _unit(1 / (1 + np.exp(exponent)))
        if self.function is WindowFunction.LINEAR_EXACT:
            return _unit((values - self.centre) / self.width + 0.5)
        # A width of 1 is a threshold (C.11.2.1.2.1); a tiny divisor makes the same step.
        return _unit((values - (self.centre - 0.5)) / max(self.width - 1, 1e-9) + 0.5)


@dataclass(frozen=True, eq=False)
class LookupTable:
    """A LUT sequence item: entries for consecutive input values."""

    first: int  # input value of the first entry; lower ones take the first entry, higher ones the last
    entries: NDArray[np.uint16]
    bits: int  # of one entry

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Input values → entries."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1).astype(np.intp)
        looked_up: NDArray[np.float64] = self.entries[index].astype(np.float64)
        return looked_up


@dataclass(frozen=True, eq=False)
class Presentation:
    """What a header says about turning stored values into grey."""

    monochrome1: bool = False  # the smallest value is white
    slope: float = 1.0
    intercept: float = 0.0
    modality_lut: LookupTable | None = None  # instead of slope and intercept
    voi_lut: LookupTable | None = None  # goes before a window
    window: Window | None = None
    padding: tuple[int, int] | None = None  # stored values, first to last, outside the film: shown black

    def grey(self, stored: Stored) -> NDArray[np.uint8]:
        """8-bit grey of an image of stored values (height, width), as a viewer shows it.

        Without a VOI LUT or window, or with one that would show the whole film in a single grey, the range
        of the film's own values (padding excepted) goes from black to white.
        """
        word = stored.view(np.dtype(f"u{stored.itemsize}"))
        every = np.arange(1 << (8 * stored.itemsize), dtype=word.dtype).view(stored.dtype)
        modality = self._modality(every.astype(np.float64))
        voi = self._voi(modality)
        if voi is not None:
            shown = np.take(self._eight_bits(voi, every), word)
            if shown.min() != shown.max():
                return shown
        return np.take(self._eight_bits(self._own_range(stored, every, modality), every), word)

    def _modality(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.modality_lut is not None:
            return self.modality_lut(values)
        return values * self.slope + self.intercept

    def _voi(self, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
        if self.voi_lut is not None:
            return self.voi_lut(values) / ((1 << self.voi_lut.bits) - 1)
        return self.window(values) if self.window is not None else None

    def _own_range(self, stored: Stored, every: Stored, modality: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = stored if self.padding is None else stored[~self._is_padding(stored)]
        if inside.size == 0:
            inside = stored
        used = modality[(every >= inside.min()) & (every <= inside.max())]
        low, high = used.min(), used.max()
        return _unit((modality - low) / max(high - low, 1e-9))

    def _eight_bits(self, unit: NDArray[np.float64], every: Stored) -> NDArray[np.uint8]:
        table = np.rint(_unit(unit) * 255).astype(np.uint8)
        if self.monochrome1:
            table = 255 - table
        if self.padding is not None:
            table[self._is_padding(every)] = 0  # it is no part of the film (PS3.3, C.7.5.1.1.2)
        return table

    def _is_padding(self, stored: Stored) -> NDArray[np.bool_]:
        first, last = self.padding or (0, -1)
        return (stored >= first) & (stored <= last)


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Clipped to 0…1."""
    clipped: NDArray[np.float64] = np.clip(values, 0.0, 1.0)
    return clipped
