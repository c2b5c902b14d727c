"""What the imaging tests share: one decoder for the session and one picture worth decoding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.imaging import ImageDecoder, ImageLimits


@pytest.fixture(scope="session")
def decoder() -> Iterator[ImageDecoder]:
    with ImageDecoder(ImageLimits(), max_workers=1) as decoder:
        decoder.warm_up()
        yield decoder


@pytest.fixture(scope="session")
def grey() -> NDArray[np.uint8]:
    """48 rows × 70 columns without any symmetry, so that every turn and mirror shows."""
    rows, columns = np.mgrid[0:48, 0:70]
    picture = 20 + 2 * rows + columns + 30 * ((rows // 8 + columns // 5) % 2)
    picture[3:12, 4:30] = 250
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def rgb(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.dstack([grey, grey[::-1], grey[:, ::-1]])
