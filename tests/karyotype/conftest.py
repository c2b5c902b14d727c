"""Phantom spreads with their truth, and images made from them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.imaging.image import Image, MediaType
from appliance.phantoms.metaphase import metaphase_phantom
from tests.simulators.karyotype_engines import SpreadTruth, phantom_truth


def image_of(grey: NDArray[np.uint8], pixel_size_um: float | None = None) -> Image:
    return Image(np.ascontiguousarray(grey), MediaType.PNG, 8, pixel_size_um=pixel_size_um)


@pytest.fixture(scope="session")
def male() -> SpreadTruth:
    """A full field of 1360 × 1024 pixels with nuclei and debris."""
    return phantom_truth(metaphase_phantom(1, "46,XY"))


@pytest.fixture(scope="session")
def trisomy_21() -> SpreadTruth:
    return phantom_truth(metaphase_phantom(3, "47,XX,+21", size=(900, 800)))
