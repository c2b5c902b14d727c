"""How a chromosome stains along its axis: bands and waist become profiles sampled once a pixel.

The stain is an absorbance (natural logarithm), so that the absorbances of overlapping chromosomes add up as
they do in a light microscope (Beer-Lambert law).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.phantoms.cytobands import Ideogram, Stain, ideogram

_DENSITY: dict[Stain, float] = {
    Stain.GNEG: 0.16,
    Stain.GPOS25: 0.38,
    Stain.GPOS50: 0.60,
    Stain.GPOS75: 0.82,
    Stain.GPOS100: 1.00,
    Stain.ACEN: 0.62,
    Stain.GVAR: 0.70,
    Stain.STALK: 0.04,
}
"""Stain density of a class, 0 = the palest chromatin, 1 = the darkest band."""

_INDIVIDUAL: dict[str, float] = {
    "1q12": 0.95,
    "3p11": 0.90,
    "3q11.1": 0.90,
    "9q12": 0.22,
    "16p12": 0.45,
    "16q11.2": 1.0,
    "19p12": 0.85,
    "19p11": 0.95,
    "19q11": 0.95,
    "19q12": 0.85,
    "19q13.2": 0.30,
    "19q13.4": 0.30,
    "22p11.1": 0.90,
    "22q11.1": 0.90,
    "Yq12": 0.85,
}
"""Bands whose look under GTG staining differs from their class: the heterochromatin of 1, 16 and Y is dark,
that of 9 pale, 19 is pale but for its centromere, the centromeres of 3 and 22 are dark."""

_MARGIN_PX = 3
"""Samples added beyond both telomeres, where the chromosome's width has fallen to zero."""


@dataclass(frozen=True)
class StainStyle:
    """How one slide is prepared and lit; the same for all chromosomes of a spread."""

    length_px: float = 150.0  # axis length of chromosome 1
    width_px: float = 18.0  # width of a chromatid pair between the dark bands
    pale: float = 0.36  # absorbance of the palest chromatin
    dark: float = 1.00  # absorbance of the darkest band
    band_blur_px: float = 1.3  # standard deviation of the smear of bands along the axis
    chromatid_gap: float = 0.08  # share of the stain missing between the chromatids, 0 = invisible
    grain: float = 0.09  # relative standard deviation of the chromatin's texture
    ragged_px: float = 0.4  # standard deviation of the outline
    telomere_fade: float = 0.35  # share of the stain that is missing at the very ends
    focus_blur_px: float = 1.1  # standard deviation of the optics' blur

    @staticmethod
    def sample(rng: np.random.Generator) -> StainStyle:
        """A plausible slide: short and thick or long and thin, pale or dark, sharp or soft."""
        length = float(np.clip(rng.normal(148.0, 22.0), 100.0, 205.0))
        pale = float(rng.uniform(0.22, 0.5))
        return StainStyle(
            length_px=length,
            # Condensation shortens and thickens a chromosome together.
            width_px=float(np.clip(18.5 * (148.0 / length) ** 0.5 * rng.normal(1.0, 0.07), 14.5, 25.0)),
            pale=pale,
            dark=pale + float(rng.uniform(0.42, 0.9)),
            band_blur_px=float(rng.uniform(0.9, 2.2)),
            chromatid_gap=float(max(0.0, rng.normal(0.06, 0.07))),
            grain=float(rng.uniform(0.04, 0.13)),
            ragged_px=float(rng.uniform(0.1, 0.7)),
            telomere_fade=float(rng.uniform(0.1, 0.5)),
            focus_blur_px=float(rng.uniform(0.8, 1.9)),
        )


@dataclass(frozen=True)
class AxisProfile:
    """A chromosome along its axis, one sample a pixel, the p telomere first."""

    absorbance: NDArray[np.float32]  # (n,) natural logarithm
    half_width: NDArray[np.float32]  # (n,) pixels; negative beyond the telomeres
    centromere: float  # index of the centromere, in samples
    first: int  # index of the sample at the p telomere
    last: int  # index of the sample at the q telomere


def axis_profile(label: str, style: StainStyle, rng: np.random.Generator) -> AxisProfile:
    """Stain and width of one individual chromosome along its axis.

    Args:
        label: "1" … "22", "X" or "Y".
        style: the slide's.
        rng: source of what differs between two homologues (condensation, heterochromatin, band strength).
    """
    drawn = ideogram(label)
    scale = style.length_px * float(rng.normal(1.0, 0.035))
    # A telomere is rounded by the optics: it adds a constant, which only the small chromosomes show.
    length = scale * (0.955 * drawn.relative_length + 0.045)
    edges, density, width = _segments(drawn, rng)
    count = round(length)
    position = (np.arange(-_MARGIN_PX, count + _MARGIN_PX) + 0.5) / length
    warp = rng.normal(0.0, 0.006, 2)
    # Condensation is not even along a chromosome: a slow warp that leaves both ends where they are.
    warped = position + warp[0] * np.sin(np.pi * position) + warp[1] * np.sin(2 * np.pi * position)
    index = np.clip(np.searchsorted(edges, warped, side="right") - 1, 0, len(density) - 1)
    samples = _smooth(density[index], style.band_blur_px)
    widths = _smooth(width[index], 1.8)
    sample_centromere = float(np.interp(drawn.centromere, warped, np.arange(len(warped))))
    half = 0.5 * style.width_px * widths * (0.95 + 0.07 * samples) * float(rng.normal(1.0, 0.03))
    half *= _waist(len(half), sample_centromere, style.width_px, drawn.acrocentric, rng)
    half = _round_ends(half, count)
    absorbance = style.pale + (style.dark - style.pale) * samples
    depth = np.minimum(np.arange(len(half)) - _MARGIN_PX, _MARGIN_PX + count - 1 - np.arange(len(half)))
    absorbance *= 1.0 - style.telomere_fade * np.exp(
        -0.5 * (np.maximum(depth, 0) / (0.25 * style.width_px)) ** 2
    )
    return AxisProfile(
        absorbance=absorbance.astype(np.float32),
        half_width=half.astype(np.float32),
        centromere=sample_centromere,
        first=_MARGIN_PX,
        last=_MARGIN_PX + count - 1,
    )


def _segments(
    drawn: Ideogram, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Start, stain density and relative width of each band, with what varies between individuals."""
    lengths = np.array([band.end - band.start for band in drawn.bands])
    density = np.empty(len(drawn.bands))
    width = np.ones(len(drawn.bands))
    for i, band in enumerate(drawn.bands):
        level = _INDIVIDUAL.get(drawn.label + band.name, _DENSITY[band.stain])
        if band.stain is Stain.GVAR:
            lengths[i] *= float(np.clip(rng.normal(0.9, 0.18), 0.4, 1.4))
            width[i] = 0.84 if drawn.acrocentric else 0.96
        elif band.stain is Stain.STALK:
            lengths[i] *= float(rng.uniform(0.3, 1.1))
            width[i] = float(rng.uniform(0.45, 0.8))
        density[i] = level + float(rng.normal(0.0, 0.05))
    edges = np.concatenate([[0.0], np.cumsum(lengths)[:-1]]) / lengths.sum()
    # The centromere stays where the ideogram has it: both arms are stretched back to their own length.
    cut = next(i + 1 for i, band in enumerate(drawn.bands) if band.stain is Stain.ACEN)
    at = edges[cut]
    p_side = edges * (drawn.centromere / at)
    q_side = 1.0 - (1.0 - edges) * ((1.0 - drawn.centromere) / (1.0 - at))
    return np.where(np.arange(len(edges)) < cut, p_side, q_side), density, width


def _waist(
    count: int, centromere: float, width_px: float, acrocentric: bool, rng: np.random.Generator
) -> NDArray[np.float64]:
    depth = float(rng.uniform(0.1, 0.34)) * (0.7 if acrocentric else 1.0)
    distance = (np.arange(count) - centromere) / (0.16 * width_px)
    waist: NDArray[np.float64] = 1.0 - depth * np.exp(-0.5 * distance**2)
    # Chromatids are never of one thickness: a slow wobble of a few per cent.
    phase = rng.uniform(0.0, 2 * math.pi, 2)
    at = np.arange(count) / width_px
    wobble = 1.0 + 0.02 * np.sin(1.7 * at + phase[0]) + 0.02 * np.sin(3.1 * at + phase[1])
    shaped: NDArray[np.float64] = waist * wobble
    return shaped


def _round_ends(half: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Close both telomeres with a flattened half ellipse; negative half width beyond them."""
    at = np.arange(-_MARGIN_PX, count + _MARGIN_PX) + 0.5
    depth = np.minimum(at, count - at)
    reach = 0.62 * np.maximum(half, 1.0)
    inside = np.clip(1.0 - depth / reach, 0.0, 1.0)
    return np.where(depth > 0.0, half * np.sqrt(1.0 - inside**2.4), -1.0)


def _smooth(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    radius = max(1, math.ceil(3.0 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    padded = np.pad(values, radius, mode="edge")
    smoothed: NDArray[np.float64] = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    return smoothed
