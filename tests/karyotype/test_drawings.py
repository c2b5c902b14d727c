"""Karyogram and overlay: what has to be on the page is on the page, where it belongs."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from appliance import RESEARCH_USE_ONLY
from appliance.analysis import Box, Deviation, DeviationKind, Polarity, QualityFlag, Spread
from appliance.imaging.page import PageFormat
from appliance.inference.request import RequestContext
from appliance.karyotype.artist import MetaphaseArtist
from appliance.karyotype.cascade import KaryotypePipeline
from appliance.karyotype.karyogram import PAGE_HEIGHT, PAGE_WIDTH, draw_karyogram
from appliance.karyotype.label_places import place_labels
from appliance.karyotype.overlay import draw_overlay
from appliance.karyotype.sprite import draw_sprite, sprite_margin, upright_frame
from appliance.karyotype.wording import flag_words
from appliance.models.preprocessing import stain_range
from tests.karyotype.conftest import image_of
from tests.simulators.karyotype_engines import SpreadTruth, TruthEngines


@pytest.fixture(scope="module")
def spread(male: SpreadTruth) -> Spread:
    return KaryotypePipeline(TruthEngines(male)).analyze(image_of(male.grey), RequestContext())[0]


def decoded(png: bytes) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture, dtype=np.uint8)


def ink(picture: NDArray[np.uint8]) -> int:
    return int((picture.min(axis=2) < 200).sum())


def amber(picture: NDArray[np.uint8]) -> int:
    blue, green, red = (picture[..., channel].astype(int) for channel in range(3))
    return int(((red > 200) & (blue < 60) & (green > 100) & (green < 160)).sum())


def test_page_has_the_print_size_and_white_margins(male: SpreadTruth, spread: Spread) -> None:
    page = decoded(draw_karyogram(male.grey, spread))
    assert page.shape == (PAGE_HEIGHT, PAGE_WIDTH, 3)
    for margin in (page[:60], page[-40:], page[:, :90], page[:, -90:]):
        assert margin.min() == 255


def test_all_stain_of_the_chromosomes_is_printed(male: SpreadTruth, spread: Spread) -> None:
    page = decoded(draw_karyogram(male.grey, spread))
    empty = decoded(draw_karyogram(male.grey, replace(spread, chromosomes=(), pairs=())))
    assert ink(page) - ink(empty) > 20 * sum(mask.sum() for mask in male.masks) * 0.05


def test_doubtful_objects_are_marked_and_certain_ones_are_not(male: SpreadTruth, spread: Spread) -> None:
    assert amber(decoded(draw_karyogram(male.grey, spread))) == 0
    for change in ({"needs_expert": True, "confidence": 0.41}, {"polarity": Polarity.UNSURE}):
        first = replace(spread.chromosomes[0], **change)
        doubtful = replace(spread, chromosomes=(first, *spread.chromosomes[1:]))
        assert amber(decoded(draw_karyogram(male.grey, doubtful))) > 50


def test_withheld_reason_and_missing_members_show(male: SpreadTruth, spread: Spread) -> None:
    withheld = replace(spread, iscn=None, iscn_withheld_reason="the field holds more than one spread")
    page = decoded(draw_karyogram(male.grey, withheld))
    assert amber(page[180:230]) > 100
    fewer = replace(spread, pairs=tuple((label, members[:1]) for label, members in spread.pairs))
    assert ink(decoded(draw_karyogram(male.grey, fewer))) < ink(page)


def test_scale_bar_only_with_a_known_pixel_size(male: SpreadTruth, spread: Spread) -> None:
    foot = slice(PAGE_HEIGHT - 100, PAGE_HEIGHT - 50)
    right = slice(PAGE_WIDTH - 500, PAGE_WIDTH - 100)
    assert ink(decoded(draw_karyogram(male.grey, spread))[foot, right]) == 0
    measured = replace(spread, pixel_size_um=0.07)
    assert ink(decoded(draw_karyogram(male.grey, measured))[foot, right]) > 100


def test_notice_is_on_both_pages(male: SpreadTruth, spread: Spread) -> None:
    page = decoded(draw_karyogram(male.grey, spread))
    assert ink(page[PAGE_HEIGHT - 100 : PAGE_HEIGHT - 50, 100:650]) > 1000
    overlay = decoded(draw_overlay(male.grey, spread))
    assert ink(overlay[-40:, :450]) > 500


def test_sprite_is_upright_and_stands_with_its_p_arm_up(male: SpreadTruth, spread: Spread) -> None:
    levels = stain_range(male.grey)
    for one in spread.chromosomes[:12]:
        frame = upright_frame(one)
        sprite = draw_sprite(male.grey, levels, one, frame, 2.0)
        turned = draw_sprite(
            male.grey,
            levels,
            replace(one, polarity=_other(one.polarity)),
            upright_frame(replace(one, polarity=_other(one.polarity))),
            2.0,
        )
        height, width = sprite.shape
        assert abs(height - 2 * sprite_margin(2.0) - frame.height * 2) <= 1
        assert sprite[0].min() == 255
        assert sprite[:, 0].min() == 255
        again = turned[::-1, ::-1][:height, :width]
        assert np.corrcoef(sprite.ravel(), again.ravel())[0, 1] > 0.95


def _other(polarity: Polarity) -> Polarity:
    return Polarity.Q_ARM_UP if polarity is Polarity.P_ARM_UP else Polarity.P_ARM_UP


def test_any_number_of_members_fits_the_page(male: SpreadTruth, spread: Spread) -> None:
    crowd = replace(spread, pairs=(("1", tuple(range(46))),))
    page = decoded(draw_karyogram(male.grey, crowd))
    assert page[:, -60:].min() == 255


def test_overlay_magnifies_small_fields_and_outlines_every_object(male: SpreadTruth, spread: Spread) -> None:
    overlay = decoded(draw_overlay(male.grey, spread))
    scale = 2200 / 1360
    assert overlay.shape[1] == 2200
    grey = decoded(draw_overlay(male.grey, replace(spread, chromosomes=(), pairs=())))
    for one in spread.chromosomes:
        x, y = one.mask[0][0]
        window = (
            slice(round(y * scale) - 3, round(y * scale) + 4),
            slice(round(x * scale) - 3, round(x * scale) + 4),
        )
        assert (overlay[window] != grey[window]).any()


def test_artist_draws_both(male: SpreadTruth, spread: Spread) -> None:
    image = image_of(male.grey)
    artist = MetaphaseArtist()
    assert artist.overlay(image, spread).startswith(b"\x89PNG")
    assert artist.karyogram(image, spread).startswith(b"\x89PNG")


def test_labels_avoid_objects_and_each_other() -> None:
    occupied = np.zeros((300, 300), dtype=np.uint8)
    boxes = [Box(100, 100, 20, 80), Box(125, 100, 20, 80), Box(150, 100, 20, 80)]
    for box in boxes:
        occupied[int(box.y) : int(box.y + box.height), int(box.x) : int(box.x + box.width)] = 1
    sizes = [(30.0, 20.0)] * 3
    places = place_labels(boxes, sizes, occupied)
    for x, y in places:
        assert occupied[int(y) : int(y + 20), int(x) : int(x + 30)].sum() == 0
    for first in range(3):
        for second in range(first + 1, 3):
            (x0, y0), (x1, y1) = places[first], places[second]
            assert abs(x0 - x1) >= 29 or abs(y0 - y1) >= 19


def test_every_flag_has_words() -> None:
    words = flag_words(tuple(QualityFlag))
    assert len(set(words)) == len(QualityFlag)
    assert all(words)


def test_a_neighbour_is_kept_out_of_the_soft_edge(male: SpreadTruth, spread: Spread) -> None:
    levels = stain_range(male.grey)
    touching = next(one for one in spread.chromosomes if one.touching)
    frame = upright_frame(touching)
    neighbours = [spread.chromosomes[index] for index in touching.touching]
    alone = draw_sprite(male.grey, levels, touching, frame, 3.0)
    parted = draw_sprite(male.grey, levels, touching, frame, 3.0, neighbours)
    assert parted.astype(int).sum() > alone.astype(int).sum()
    assert (parted.astype(int) >= alone.astype(int) - 1).all()


@pytest.mark.parametrize("page_format", [PageFormat.SVG, PageFormat.PDF])
def test_vector_pages_hold_every_chromosome(
    male: SpreadTruth, spread: Spread, page_format: PageFormat
) -> None:
    page = draw_karyogram(male.grey, spread, "slide 7", page_format)
    if page_format is PageFormat.SVG:
        assert page.count(b"<image ") == spread.count
        for words in (b">46,XY<", b">slide 7<", RESEARCH_USE_ONLY.encode(), b">22<"):
            assert words in page
    else:
        assert page.startswith(b"%PDF-")
        assert page.count(b"/SMask") >= spread.count


def test_deviations_stand_on_the_page_and_end_where_it_ends(male: SpreadTruth, spread: Spread) -> None:
    words = "45 objects: touching pair outlined as one at (412, 300), or monosomy 21"
    one = Deviation(DeviationKind.COUNT, "", 46, 45, (), words)
    page = draw_karyogram(male.grey, replace(spread, deviations=(one,)), page_format=PageFormat.SVG)
    assert f">{words}<".encode() in page
    long = replace(one, words=" ".join(["pieces of one chromosome"] * 40))
    page = draw_karyogram(male.grey, replace(spread, deviations=(long,) * 9), page_format=PageFormat.SVG)
    assert "chromosome …<".encode() in page
    assert b">and 5 further deviations<" in page
