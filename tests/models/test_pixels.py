"""Which packs take pixels, and that the X-ray pack's answers do not hang on the form of its input."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.app import FACTORY
from appliance.models.manifest import MANIFEST_NAME, Manifest, Role
from appliance.models.pixels import pixel_input
from engines import EngineOptions, PixelInput
from engines.openvino_engine import OpenVinoEngine

MANIFESTS = [
    (path.parent, Manifest.model_validate_json(path.read_text()))
    for path in sorted(FACTORY.glob(f"*/{MANIFEST_NAME}"))
]


def test_only_the_x_ray_pack_is_made_of_pixels() -> None:
    takes = {manifest.role: pixel_input(manifest) for _folder, manifest in MANIFESTS}
    assert takes.pop(Role.CHEST_XRAY_DETECTOR) == PixelInput(255.0)
    assert set(takes.values()) <= {None}


@pytest.mark.parametrize("change", [{"channels": "BGR"}, {"channels": 3}, {"divisor": "255"}, {"divisor": 0}])
def test_another_making_is_not_folded(change: dict[str, object]) -> None:
    ((_folder, manifest),) = [one for one in MANIFESTS if one[1].role is Role.CHEST_XRAY_DETECTOR]
    parameters = manifest.preprocessing.parameters | change
    other = manifest.preprocessing.model_copy(update={"parameters": parameters})
    assert pixel_input(manifest.model_copy(update={"preprocessing": other})) is None


def test_half_floats_are_not_folded() -> None:
    ((_folder, manifest),) = [one for one in MANIFESTS if one[1].role is Role.CHEST_XRAY_DETECTOR]
    halves = tuple(entry.model_copy(update={"datatype": "FP16"}) for entry in manifest.inputs)
    assert pixel_input(manifest.model_copy(update={"inputs": halves})) is None


def test_the_x_ray_pack_answers_alike_to_both_forms() -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    ((folder, manifest),) = [one for one in MANIFESTS if one[1].role is Role.CHEST_XRAY_DETECTOR]
    pixels = np.random.default_rng(5).integers(0, 256, (1, 640, 640, 3), np.uint8)
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)
    options = EngineOptions(threads=2, pixels=pixel_input(manifest))
    with OpenVinoEngine(folder / manifest.model_file, options) as engine:
        found = engine.infer({"images": pixels})["output0"]
        expected = engine.infer({"images": planes})["output0"]
    boxes, scores = np.abs(found - expected)[0, :4], np.abs(found - expected)[0, 4:]
    assert boxes.max() < 0.5, "pixels of the input"
    assert scores.max() < 0.005
