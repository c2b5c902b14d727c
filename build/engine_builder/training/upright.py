"""Single chromosomes that stand with the p arm up, by slide: what polarity is learnt from and judged on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.analysis import CHROMOSOME_LABELS
from appliance.models.preprocessing import crop_scale, upright_crop
from engine_builder.training.spreads import STAIN_UNITS


@dataclass(frozen=True)
class Upright:
    """Single chromosomes with the p arm up."""

    pixels: NDArray[np.uint8]  # (M, 128, 96)
    labels: NDArray[np.int64]
    slides: NDArray[np.str_]


def read_upright(folder: Path) -> Upright:
    """Read the upright set; slides are told apart by the second and third number of the file name."""
    files: dict[str, list[tuple[Path, int]]] = {}
    for directory in sorted(folder.iterdir()):
        if directory.is_dir():
            label = CHROMOSOME_LABELS.index(directory.name)
            for path in sorted(directory.glob("*.png")):
                slide = "_".join(path.stem.split("_")[2:4])
                files.setdefault(slide, []).append((path, label))
    pixels, labels, slides = [], [], []
    for slide, entries in files.items():
        greys = [
            np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), dtype=np.uint8) for path, _ in entries
        ]
        darkest = float(np.percentile(np.concatenate([g.ravel() for g in greys]), 0.5))
        stains = [
            np.clip((255.0 - g.astype(np.float32)) / max(255.0 - darkest, 24.0), 0.0, 1.25) for g in greys
        ]
        areas = np.array([(s > 0.12).sum() for s in stains], dtype=float)
        scale = crop_scale(areas)
        for stain, (_, label) in zip(stains, entries, strict=True):
            pixels.append(np.round(upright_crop(stain, stain > 0.08, scale, turn_degrees=0.0) * STAIN_UNITS))
            labels.append(label)
            slides.append(slide)
    return Upright(np.stack(pixels).astype(np.uint8), np.array(labels), np.array(slides))


def split_upright(upright: Upright) -> tuple[Upright, Upright]:
    """Every fourth slide is held out: (seen, held out)."""
    held_out = np.isin(upright.slides, sorted(set(upright.slides))[::4])
    parts = [Upright(upright.pixels[k], upright.labels[k], upright.slides[k]) for k in (~held_out, held_out)]
    return parts[0], parts[1]
