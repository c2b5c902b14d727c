"""What the segmenter's recipe names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from torch import nn

from appliance.models.manifest import Role
from appliance.models.preprocessing import field_input, normalise_stain
from engine_builder.networks.served import load_served
from engine_builder.recipe import Infer, Measurement, Tensors, Workspace
from engine_builder.reference.evaluation import segmenter_scores
from engine_builder.training.phantom_spreads import PHANTOMS, cached_phantoms, phantom
from engine_builder.training.spreads import STAIN_UNITS, Field, cached_fields


def network(checkpoint: Path) -> nn.Module:
    """The trained segmenter."""
    return load_served(Role.KARYOTYPE_SEGMENTER, checkpoint)


def field_tensors(fields: list[Field]) -> Iterator[Tensors]:
    """Whole fields as segmenter and detector are given them."""
    for field in fields:
        yield {"image": field_input(field.stain.astype(np.float32) / STAIN_UNITS, max_scale=1.0)[0]}


def calibration(workspace: Workspace) -> Iterator[Tensors]:
    """Three real training spreads to one phantom."""
    real = cached_fields(workspace.data / "metaphases", "train", workspace.work / "cache")[::37]
    synthetic = cached_phantoms(PHANTOMS, workspace.work / "cache")[0][::8]
    mixed = [
        field
        for n, one in enumerate(real)
        for field in ((one, synthetic[n // 3 % 20]) if n % 3 == 2 else (one,))
    ]
    return field_tensors(mixed)


def metric(workspace: Workspace, infer: Infer) -> Mapping[str, Measurement]:
    """Dice on validation spreads."""
    fields = cached_fields(workspace.data / "metaphases", "val", workspace.work / "cache")
    return segmenter_scores(infer, fields[::6])


def golden(workspace: Workspace) -> Iterator[Tensors]:
    """Phantom fields that training never saw: they are ours to publish."""
    del workspace
    for number in range(PHANTOMS, PHANTOMS + 2):
        yield {"image": field_input(normalise_stain(phantom(number).image))[0]}
