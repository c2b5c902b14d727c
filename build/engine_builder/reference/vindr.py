"""What the recipe of a user's VinDr-CXR model names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from engine_builder.recipe import Infer, Measurement, Tensors, Workspace
from engine_builder.reference.xray import golden, network
from engine_builder.vindr.films import VindrSet, load_set
from engine_builder.vindr.report import measure

__all__ = ["calibration", "golden", "metric", "network"]

ROUNDS = 0
"""The builder compares values; intervals stand in the report of the training."""


def calibration(workspace: Workspace) -> Iterator[Tensors]:
    """Training films."""
    for film in itertools.cycle(_films(workspace).train):
        plane = film.grey().astype(np.float32) / np.float32(255)
        yield {"images": np.repeat(plane[None, None], 3, axis=1)}


def metric(workspace: Workspace, infer: Infer) -> Mapping[str, Measurement]:
    """Mean AP at IoU 0.4 and 0.5 on patients that training never saw."""
    report = measure(infer, _films(workspace).test, ROUNDS)
    return {name: Measurement(interval.value, interval.n) for name, interval in report.mean.items()}


def _films(workspace: Workspace) -> VindrSet:
    return load_set(workspace.data, workspace.work / "cache" / "vindr")
