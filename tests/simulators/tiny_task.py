"""What a recipe names, for a network that is built in a moment: `tests.simulators.tiny_task:…`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine_builder.recipe import Infer, Measurement, Tensors, Workspace
from tests.simulators import graphs

if TYPE_CHECKING:
    import torch


def network(checkpoint: Path) -> torch.nn.Module:
    """Convolution, batch normalisation, mean and a linear layer, with weights from the checkpoint's seed."""
    import torch
    from torch import nn

    torch.manual_seed(int(checkpoint.read_text()))
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, graphs.CLASSES),
    ).eval()


def calibration(_: Workspace) -> Iterator[Tensors]:
    return graphs.samples(100)


def metric(_: Workspace, infer: Infer) -> Mapping[str, Measurement]:
    """Share of samples whose best class is the most frequent one."""
    best = [int(infer(sample)["logits"][0].argmax()) for sample in graphs.samples(20, seed=6)]
    return {"share": Measurement(np.bincount(best).max() / len(best), len(best))}


def golden(_: Workspace) -> Iterator[Tensors]:
    return graphs.samples(3, seed=77)
