"""What the detector's recipe names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import nn

from appliance.models.manifest import Role
from engine_builder.networks.served import load_served
from engine_builder.recipe import Infer, Measurement, Tensors, Workspace
from engine_builder.reference.evaluation import detector_scores
from engine_builder.reference.segmenter import calibration as field_calibration
from engine_builder.reference.segmenter import golden as field_golden
from engine_builder.training.spreads import cached_fields


def network(checkpoint: Path) -> nn.Module:
    """The trained detector with its suppression inside."""
    return load_served(Role.KARYOTYPE_DETECTOR, checkpoint)


def calibration(workspace: Workspace) -> Iterator[Tensors]:
    """The fields that the segmenter is calibrated on."""
    return field_calibration(workspace)


def metric(workspace: Workspace, infer: Infer) -> Mapping[str, Measurement]:
    """Box AP50 and counts on validation spreads."""
    fields = cached_fields(workspace.data / "metaphases", "val", workspace.work / "cache")
    return detector_scores(infer, fields[::4])


def golden(workspace: Workspace) -> Iterator[Tensors]:
    """The segmenter's golden fields."""
    return field_golden(workspace)
