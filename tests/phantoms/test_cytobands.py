from __future__ import annotations

import pytest

from appliance.analysis import CHROMOSOME_LABELS
from appliance.phantoms.cytobands import Stain, ideogram


@pytest.mark.parametrize("label", CHROMOSOME_LABELS)
def test_bands_tile_the_chromosome_without_gap(label: str) -> None:
    drawn = ideogram(label)
    assert drawn.bands[0].start == 0.0
    assert drawn.bands[-1].end == 1.0
    for before, after in zip(drawn.bands, drawn.bands[1:], strict=False):
        assert after.start == before.end
        assert after.start_bp == before.end_bp + 1
        assert before.end > before.start


@pytest.mark.parametrize("label", CHROMOSOME_LABELS)
def test_the_centromere_lies_between_the_arms(label: str) -> None:
    drawn = ideogram(label)
    for band in drawn.bands:
        if band.name.startswith("p"):
            assert band.end <= drawn.centromere
        else:
            assert band.start >= drawn.centromere
    assert [band.stain for band in drawn.bands].count(Stain.ACEN) == 2
    assert drawn.centromere <= 0.5, "the p arm is the short one"


def test_the_five_acrocentrics_have_stalks() -> None:
    assert [label for label in CHROMOSOME_LABELS if ideogram(label).acrocentric] == [
        "13",
        "14",
        "15",
        "21",
        "22",
    ]


def test_lengths_are_those_of_the_human_chromosomes() -> None:
    assert ideogram("1").length_bp == 248_956_422
    assert ideogram("21").length_bp == 46_709_983
    assert ideogram("Y").length_bp == 57_227_415
    assert ideogram("1").relative_length == 1.0
    # On the ISCN axis 21 is the shortest although 22 has more base pairs than it by a few per cent only.
    assert min(CHROMOSOME_LABELS, key=lambda label: ideogram(label).relative_length) == "21"


def test_the_table_is_of_the_550_band_level() -> None:
    assert 500 <= sum(len(ideogram(label).bands) for label in CHROMOSOME_LABELS) <= 600


def test_an_unknown_label_is_named() -> None:
    with pytest.raises(ValueError, match="'23'"):
        ideogram("23")
