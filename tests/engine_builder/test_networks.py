from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the `build` extra is not installed")

from appliance.models.manifest import Role  # noqa: E402
from appliance.models.reference import REFERENCE_CONTRACTS  # noqa: E402
from engine_builder.networks.mask_rcnn import MaskRcnn  # noqa: E402
from engine_builder.networks.resnet import ChromosomeClassifier  # noqa: E402
from engine_builder.networks.served import load_served  # noqa: E402
from engine_builder.networks.unet import Segmenter  # noqa: E402
from engine_builder.networks.yolo11 import Yolo11n  # noqa: E402

NETWORKS = {
    Role.KARYOTYPE_SEGMENTER: Segmenter,
    Role.KARYOTYPE_DETECTOR: MaskRcnn,
    Role.KARYOTYPE_CLASSIFIER: ChromosomeClassifier,
    Role.CHEST_XRAY_DETECTOR: Yolo11n,
}


@pytest.mark.parametrize("role", NETWORKS)
def test_what_is_served_has_the_shapes_of_the_contract(role: Role, tmp_path: Path) -> None:
    torch.manual_seed(0)
    contract = REFERENCE_CONTRACTS[role]
    torch.save({"average": NETWORKS[role]().state_dict()}, tmp_path / "network.pt")
    served = load_served(role, tmp_path / "network.pt")
    images = [torch.rand([2 if side == -1 else side for side in entry.shape]) for entry in contract.inputs]
    with torch.no_grad():
        outputs = served(*images)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    assert len(outputs) == len(contract.outputs)
    for entry, output in zip(contract.outputs, outputs, strict=True):
        assert list(output.shape) == [2 if side == -1 else side for side in entry.shape], entry.name
        assert torch.isfinite(output).all(), entry.name


def test_sizes_are_those_of_the_published_architectures() -> None:
    def millions(network: torch.nn.Module) -> float:
        return sum(weights.numel() for weights in network.parameters()) / 1e6

    # He et al., CVPR 2016, table of torchvision: 11.69 with 1000 classes and colour; Ultralytics' table: 2.6
    assert millions(ChromosomeClassifier()) == pytest.approx(11.2, abs=0.1)
    assert millions(Yolo11n()) == pytest.approx(2.6, abs=0.1)
