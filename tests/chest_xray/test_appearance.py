"""Text in the corners and grey the wrong way round: flagged where they are, and only there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.analysis import QualityFlag
from appliance.chest_xray.appearance import appearance_flags, has_burned_in_text, looks_inverted
from appliance.phantoms.chest_film import chest_phantom

TEXT = "DOE^JOHN 1970"


@pytest.fixture(scope="module")
def phantoms() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(4)
    return [chest_phantom(rng, 1024).image for _ in range(3)]


def write(film: NDArray[np.uint8], corner: int, height: float, text: str = TEXT) -> NDArray[np.uint8]:
    """The film with text in one of its corners, light on dark or dark on light, `height` of the film's."""
    marked = film.copy()
    rows, columns = film.shape
    scale = height * rows / 22
    stroke = max(1, round(scale * 1.5))
    (wide, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, stroke)
    x = 10 if corner % 2 == 0 else columns - wide - 10
    y = tall + 12 if corner < 2 else rows - 14
    ground = film[max(0, y - tall) : y, x : x + wide].mean()
    level = 255 if ground < 128 else 0
    cv2.putText(marked, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, level, stroke, cv2.LINE_AA)
    return marked


@pytest.mark.parametrize("corner", range(4))
@pytest.mark.parametrize("height", [0.01, 0.018, 0.03])
def test_text_in_any_corner_is_seen(phantoms: list[NDArray[np.uint8]], corner: int, height: float) -> None:
    for film in phantoms:
        assert has_burned_in_text(write(film, corner, height))
        larger = cv2.resize(film, (2500, 2500), interpolation=cv2.INTER_LINEAR)
        assert has_burned_in_text(write(np.asarray(larger, np.uint8), corner, height))


def test_a_film_without_text_and_one_with_a_side_marker_are_not_flagged(
    phantoms: list[NDArray[np.uint8]],
) -> None:
    for film in phantoms:
        assert appearance_flags(film) == frozenset()
        assert not has_burned_in_text(write(film, 0, 0.03, "L"))
        assert not has_burned_in_text(write(film, 1, 0.03, "PA"))


def test_swapped_black_and_white_is_seen(phantoms: list[NDArray[np.uint8]]) -> None:
    for film in phantoms:
        assert not looks_inverted(film)
        assert QualityFlag.LOOKS_INVERTED in appearance_flags(255 - film)
    assert not looks_inverted(np.zeros((40, 20), np.uint8))


def test_false_alarms_on_real_films(chest_xrays: Path) -> None:
    """Five of the 70 films carry the word PORTABLE in a corner (looked at); nothing else is flagged."""
    flagged = set()
    for path in sorted(chest_xrays.glob("*.webp")):
        film = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert film is not None
        flags = appearance_flags(np.asarray(film, np.uint8))
        assert QualityFlag.LOOKS_INVERTED not in flags
        if flags:
            flagged.add(path.stem)
    assert flagged == {"00000368_005", "00000376_010", "00000415_000", "00000450_000", "00000468_036"}


def test_a_film_whose_header_lies_about_its_grey(data_dir: Path) -> None:
    pytest.importorskip("pydicom", reason='the extra "dicom" is not installed')
    from appliance.imaging.decoding import decode_here
    from appliance.imaging.image import ImageLimits

    image = decode_here((data_dir / "dicom" / "Fake_MONOHR1.dcm").read_bytes(), ImageLimits())
    assert looks_inverted(image.grey)  # shown as its header says, MONOCHROME1
    honest = decode_here((data_dir / "dicom" / "RG1_J2KI.dcm").read_bytes(), ImageLimits())
    assert not looks_inverted(honest.grey)
