"""Which films are judged, and what a silent header leads to."""

from __future__ import annotations

import pytest

from appliance.analysis import QualityFlag, View
from appliance.chest_xray.suitability import header_flags, refuse_other_films
from appliance.errors import UnsuitableImage
from appliance.imaging.film_tags import ANOTHER, FilmTags


@pytest.mark.parametrize(
    "tags",
    [
        None,
        FilmTags(),
        FilmTags("DX", "CHEST", View.PA),
        FilmTags("CR", "CHEST", View.AP),
        FilmTags("DX", "", View.FRONTAL),
    ],
)
def test_frontal_chest_films_and_silent_headers_pass(tags: FilmTags | None) -> None:
    refuse_other_films(tags)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (FilmTags("CT", "CHEST", View.PA), r"modality CR, DR, DX, RG\) and got one whose header says CT"),
        (FilmTags(ANOTHER, "CHEST", View.PA), "says another one"),
        (
            FilmTags("DX", "HAND", View.PA),
            "film of the chest and got one whose header says that it shows HAND",
        ),
        (FilmTags("DX", "CHEST", View.LATERAL), "a frontal chest film and got .* a lateral view"),
        (FilmTags("DX", "CHEST", View.OTHER), "got one whose header says another view"),
    ],
)
def test_other_films_are_refused_with_the_reason(tags: FilmTags, message: str) -> None:
    with pytest.raises(UnsuitableImage, match=message):
        refuse_other_films(tags)


def test_what_the_header_left_open_is_flagged() -> None:
    assert header_flags(None) == frozenset()
    assert header_flags(FilmTags("DX", "CHEST", View.PA)) == frozenset()
    assert header_flags(FilmTags()) == {QualityFlag.VIEW_NOT_STATED, QualityFlag.BODY_PART_NOT_STATED}
    assert header_flags(FilmTags("DX", "CHEST", View.AP, orientation=2)) == {QualityFlag.TURNED_UPRIGHT}
