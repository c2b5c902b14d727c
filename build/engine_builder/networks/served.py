"""From a checkpoint to the module that a pack serves: what is exported for each role."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from appliance.models.manifest import Role
from engine_builder.networks.mask_rcnn import DetectorExport, MaskRcnn
from engine_builder.networks.resnet import ChromosomeClassifier
from engine_builder.networks.unet import Segmenter
from engine_builder.networks.yolo11 import Yolo11Export, Yolo11n


def _detector() -> tuple[nn.Module, nn.Module]:
    network = MaskRcnn()
    return network, DetectorExport(network)


def _xray() -> tuple[nn.Module, nn.Module]:
    network = Yolo11n()
    return network, Yolo11Export(network)


def _same(make: Callable[[], nn.Module]) -> tuple[nn.Module, nn.Module]:
    network = make()
    return network, network


_NETWORKS: dict[Role, Callable[[], tuple[nn.Module, nn.Module]]] = {
    Role.KARYOTYPE_SEGMENTER: lambda: _same(Segmenter),
    Role.KARYOTYPE_DETECTOR: _detector,
    Role.KARYOTYPE_CLASSIFIER: lambda: _same(ChromosomeClassifier),
    Role.CHEST_XRAY_DETECTOR: _xray,
}


def load_served(role: Role, checkpoint: Path) -> nn.Module:
    """Build the role's network, load the averaged weights of a training checkpoint, return the served form.

    Args:
        role: which of the four networks.
        checkpoint: file written by `engine_builder.training.loop.Trainer`.
    """
    network, served = _NETWORKS[role]()
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network.load_state_dict(stored["average"])
    return served.eval()
