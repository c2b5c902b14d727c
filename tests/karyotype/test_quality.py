"""When the objects of a field are taken for a spread at all."""

from __future__ import annotations

import pytest

from appliance.errors import UnsuitableImage
from appliance.karyotype.quality import require_spread
from appliance.karyotype.settings import QualitySettings

SETTINGS = QualitySettings(min_chromosomes=8, min_median_detection=0.72)


def test_too_few_objects_are_no_spread() -> None:
    with pytest.raises(UnsuitableImage, match=r"at least 8 chromosomes and got 1 chromosome-like object$"):
        require_spread([0.99], SETTINGS)


def test_objects_that_the_detector_doubts_are_no_spread() -> None:
    with pytest.raises(UnsuitableImage, match=r"at least 0\.72 and got 0\.60"):
        require_spread([0.3] * 10 + [0.6] + [0.9] * 10, SETTINGS)


def test_some_doubtful_objects_among_certain_ones_are_a_spread() -> None:
    require_spread([0.3] * 10 + [0.9] * 11, SETTINGS)
