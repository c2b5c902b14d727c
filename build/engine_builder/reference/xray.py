"""What the chest X-ray model's recipe names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from torch import nn

from appliance.models.manifest import Role
from appliance.phantoms.chest_film import chest_phantom
from engine_builder.networks.served import load_served
from engine_builder.recipe import Infer, Measurement, Tensors, Workspace
from engine_builder.reference.evaluation import film_scores
from engine_builder.training.xray import FilmPainter, read_films, split_films

_SIDE = 640


def network(checkpoint: Path) -> nn.Module:
    """The trained detector in the layout of users' exports."""
    return load_served(Role.CHEST_XRAY_DETECTOR, checkpoint)


def calibration(workspace: Workspace) -> Iterator[Tensors]:
    """Painted training films."""
    films = split_films(read_films(workspace.data / "chest_xrays"))["train"]
    painter = FilmPainter(films, 11, _SIDE, augment=False)
    while True:
        yield {"images": np.repeat(painter().image[None, None], 3, axis=1)}


def metric(workspace: Workspace, infer: Infer) -> Mapping[str, Measurement]:
    """Mean AP at IoU 0.4 on painted films of patients that training never saw."""
    films = split_films(read_films(workspace.data / "chest_xrays"))["val"]
    painter = FilmPainter(films, 12, _SIDE, augment=False)
    samples = [painter() for _ in range(60)]
    return film_scores(infer, [(film.image, film.boxes, film.labels) for film in samples])


def golden(workspace: Workspace) -> Iterator[Tensors]:
    """Two phantom films."""
    del workspace
    rng = np.random.default_rng(99)
    for _ in range(2):
        film = chest_phantom(rng, _SIDE, None).image.astype(np.float32) / 255.0
        yield {"images": np.repeat(film[None, None], 3, axis=1)}
