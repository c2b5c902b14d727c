from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.models.reference import FINDING_LABELS as MODEL_LABELS
from appliance.phantoms.chest_film import ChestPhantom, chest_phantom
from appliance.phantoms.chest_findings import FINDING_LABELS, paint_findings
from appliance.phantoms.thorax import locate_thorax


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def plain() -> ChestPhantom:
    return chest_phantom(rng(1), 512)


def test_labels_are_the_models_own() -> None:
    assert FINDING_LABELS == MODEL_LABELS


def test_a_plain_film_has_dark_lungs_and_no_finding(plain: ChestPhantom) -> None:
    assert plain.findings == ()
    assert plain.image.shape == (512, 512)
    heart = plain.thorax.heart
    core = plain.image[int(heart.y + 0.4 * heart.height) : int(heart.y + 0.8 * heart.height)]
    middle = round(plain.thorax.midline_x)
    for lung in plain.thorax.lungs:
        assert lung.sum() > 0.05 * plain.image.size
        assert np.median(plain.image[lung]) < np.median(core[:, middle - 10 : middle + 10]) - 50


def test_a_seed_fixes_the_film() -> None:
    one, same = (chest_phantom(rng(7), 256, None) for _ in range(2))
    assert np.array_equal(one.image, same.image)
    assert one.findings == same.findings
    assert not np.array_equal(one.image, chest_phantom(rng(8), 256, None).image)


@pytest.mark.parametrize("label", FINDING_LABELS)
def test_a_finding_changes_the_film_inside_its_box_only(plain: ChestPhantom, label: str) -> None:
    for seed in range(5):
        film, (finding,) = paint_findings(plain.image, rng(seed), [label], thorax=plain.thorax)
        assert finding.label == label
        box = finding.box
        assert box.x >= 0
        assert box.x + box.width <= 512
        assert box.y >= 0
        assert box.y + box.height <= 512
        assert box.width >= 5
        assert box.height >= 5
        change = np.abs(film.astype(int) - plain.image.astype(int))
        inside = np.zeros(film.shape, dtype=bool)
        inside[int(box.y) : int(box.y + box.height), int(box.x) : int(box.x + box.width)] = True
        assert change[inside].max() >= 15, "visible"
        assert change[inside].sum() > 0.85 * change.sum(), "the box holds the finding"


def test_air_is_dark_and_fluid_is_bright(plain: ChestPhantom) -> None:
    signs = {}
    for label in ("Pneumothorax", "Pleural effusion", "Consolidation"):
        film, (finding,) = paint_findings(plain.image, rng(2), [label], thorax=plain.thorax)
        box = finding.box
        window = np.s_[int(box.y) : int(box.y + box.height), int(box.x) : int(box.x + box.width)]
        signs[label] = float(film[window].mean()) - float(plain.image[window].mean())
    assert signs["Pneumothorax"] < -2.0
    assert signs["Pleural effusion"] > 10.0
    assert signs["Consolidation"] > 10.0


def test_findings_come_in_the_order_asked_for(plain: ChestPhantom) -> None:
    wanted = ["Nodule/Mass", "Cardiomegaly", "Nodule/Mass"]
    _, findings = paint_findings(plain.image, rng(0), wanted, thorax=plain.thorax)
    assert [finding.label for finding in findings] == wanted


def test_the_painted_film_is_a_copy(plain: ChestPhantom) -> None:
    before = plain.image.copy()
    paint_findings(plain.image, rng(0), None, thorax=plain.thorax)
    assert np.array_equal(before, plain.image)


def test_wrong_arguments_are_refused(plain: ChestPhantom) -> None:
    with pytest.raises(ValueError, match="Fracture"):
        paint_findings(plain.image, rng(), ["Fracture"])
    with pytest.raises(ValueError, match="uint8"):
        paint_findings(np.zeros((10, 10, 3), np.uint8), rng())
    with pytest.raises(ValueError, match="at least 64"):
        chest_phantom(rng(), 32)


@pytest.mark.parametrize("seed", range(3))
def test_lungs_are_found_again_on_a_phantom(seed: int) -> None:
    phantom = chest_phantom(rng(seed), 512)
    found = locate_thorax(phantom.image)
    assert found.measured
    for guess, truth in zip(found.lungs, phantom.thorax.lungs, strict=True):
        overlap = (guess & truth).sum() / (guess | truth).sum()
        assert overlap > 0.6


def test_a_white_film_falls_back_to_standard_proportions() -> None:
    found = locate_thorax(np.full((300, 400), 200, np.uint8))
    assert not found.measured
    assert all(lung.shape == (300, 400) and lung.any() for lung in found.lungs)


def test_real_films_can_be_painted(chest_xrays: Path) -> None:
    measured = 0
    for seed, path in enumerate(sorted(chest_xrays.iterdir())[:12]):
        film = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert film is not None
        measured += locate_thorax(film).measured
        painted, findings = paint_findings(film, rng(seed))
        assert findings
        assert painted.shape == film.shape
        assert not np.array_equal(painted, film)
    assert measured >= 5
