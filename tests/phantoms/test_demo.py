from __future__ import annotations

import cv2
import numpy as np

from appliance.phantoms.demo import demo_chest_film, demo_metaphase


def test_the_demo_spread_is_a_normal_male_cell_with_a_few_contacts() -> None:
    phantom = demo_metaphase()
    assert phantom.image.shape == (1024, 1360)
    assert len(phantom.chromosomes) == 46
    assert phantom.karyotype.count("X") == 1
    assert phantom.karyotype.count("Y") == 1
    contacts = sum(len(c.touching) for c in phantom.chromosomes) // 2
    assert 2 <= contacts <= 10
    count, _ = cv2.connectedComponents(phantom.nuclei_mask.astype(np.uint8))
    assert count - 1 == 1
    assert phantom.debris_mask.any()


def test_the_demo_images_never_change() -> None:
    assert np.array_equal(demo_metaphase().image, demo_metaphase().image)
    assert np.array_equal(demo_chest_film().image, demo_chest_film().image)


def test_the_demo_images_survive_png() -> None:
    for image in (demo_metaphase().image, demo_chest_film().image):
        done, encoded = cv2.imencode(".png", image)
        assert done
        assert np.array_equal(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), image)


def test_the_demo_film_has_four_findings() -> None:
    assert len({finding.label for finding in demo_chest_film().findings}) == 4
