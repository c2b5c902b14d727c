"""What the classifier's recipe names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from appliance.models.manifest import Role
from engine_builder.confidence import CellReading, Readings
from engine_builder.networks.served import load_served
from engine_builder.recipe import Infer, Measurement, Tensors, Workspace
from engine_builder.reference.evaluation import class_accuracy, polarity_accuracy
from engine_builder.training.phantom_spreads import PHANTOMS, crops_of, phantom
from engine_builder.training.spreads import STAIN_UNITS, cached_crops
from engine_builder.training.upright import read_upright, split_upright


def network(checkpoint: Path) -> nn.Module:
    """The trained classifier."""
    return load_served(Role.KARYOTYPE_CLASSIFIER, checkpoint)


def calibration(workspace: Workspace) -> Iterator[Tensors]:
    """Random training crops, half of them turned by half a turn, 32 at a time."""
    crops = cached_crops(workspace.data / "metaphases", "train", workspace.work / "cache")
    rng = np.random.default_rng(3)
    while True:
        stain = crops.pixels[rng.integers(0, len(crops.labels), 32)].astype(np.float32) / STAIN_UNITS
        stain[::2] = stain[::2, ::-1, ::-1]
        yield {"crops": stain[:, None]}


def metric(workspace: Workspace, infer: Infer) -> Mapping[str, Measurement]:
    """Class accuracy on validation crops, polarity on slides that training never saw."""
    val = cached_crops(workspace.data / "metaphases", "val", workspace.work / "cache")
    _, held_out = split_upright(read_upright(workspace.data / "upright_chromosomes"))
    return {
        "class_accuracy": class_accuracy(infer, val.pixels[::2], val.labels[::2]),
        "polarity_accuracy": polarity_accuracy(infer, held_out.pixels),
    }


def readings(workspace: Workspace, infer: Infer) -> Readings:
    """Whole validation cells, and upright chromosomes of slides that training never saw."""
    val = cached_crops(workspace.data / "metaphases", "val", workspace.work / "cache")
    _, held_out = split_upright(read_upright(workspace.data / "upright_chromosomes"))
    cells = []
    for spread in np.unique(val.spreads):
        own = val.spreads == spread
        cells.append(CellReading(_both_views(infer, val.pixels[own])["class_logits"], val.labels[own]))
    parts = [
        _both_views(infer, held_out.pixels[start : start + 64])["polarity_logit"]
        for start in range(0, len(held_out.pixels), 64)
    ]
    views = [np.split(part, 2) for part in parts]
    polarity = np.concatenate([view[0] for view in views] + [view[1] for view in views])
    return Readings(cells, polarity)


def _both_views(infer: Infer, pixels: NDArray[np.uint8]) -> Tensors:
    stain = (pixels.astype(np.float32) / STAIN_UNITS)[:, None]
    return infer({"crops": np.ascontiguousarray(np.concatenate([stain, stain[:, :, ::-1, ::-1]]))})


def golden(workspace: Workspace) -> Iterator[Tensors]:
    """The chromosomes of one phantom cell that training never saw."""
    del workspace
    yield {"crops": (crops_of(phantom(PHANTOMS)).astype(np.float32) / STAIN_UNITS)[:, None]}
