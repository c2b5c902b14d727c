"""Boxes found on the upright film lie on the same pixels of the film as it was sent."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.analysis import Box, Finding, QualityFlag, View
from appliance.chest_xray.pipeline import ChestXrayPipeline
from appliance.chest_xray.turning import boxes_as_sent
from appliance.imaging.exif import upright
from appliance.imaging.film_tags import FilmTags
from appliance.imaging.image import Image, MediaType
from appliance.inference.request import RequestContext
from tests.simulators.film_engines import FilmEngines


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_follow_their_pixels(orientation: int) -> None:
    sent = np.zeros((40, 90), np.uint8)
    sent[5:17, 30:72] = 255
    turned = upright(sent, orientation)
    rows, columns = np.nonzero(turned)
    box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float64)
    np.testing.assert_array_equal(boxes_as_sent(box, orientation, 90, 40), [[30, 5, 72, 17]])
    assert boxes_as_sent(np.zeros((0, 4)), orientation, 90, 40).shape == (0, 4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_model_sees_the_film_upright_and_the_caller_gets_boxes_as_sent(orientation: int) -> None:
    straight = np.linspace(10, 240, 600)[:, None] * np.linspace(0.4, 1, 500)[None]
    upright_grey = straight.astype(np.uint8)
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    sent = upright(upright_grey, inverse)
    tags = FilmTags("DX", "CHEST", View.PA, orientation=orientation, orientation_stated=True)
    image = Image(sent, MediaType.DICOM, 8, tags=tags)
    truth = Finding("Cardiomegaly", 0.9, Box(100.0, 300.0, 200.0, 120.0))  # on the upright film
    engines = FilmEngines(500, 600, (truth,))
    pipeline = ChestXrayPipeline(engines, engines.model)
    film, _ = pipeline.analyze(image, RequestContext())
    plain = FilmEngines(500, 600, (truth,))
    straight_image = Image(upright_grey.copy(), MediaType.PNG, 8)
    ChestXrayPipeline(plain, plain.model).analyze(straight_image, RequestContext())
    np.testing.assert_array_equal(engines.inputs[0], plain.inputs[0])
    box = film.findings[0].box
    marked = np.zeros((600, 500), np.uint8)
    marked[300:420, 100:300] = 1
    rows, columns = np.nonzero(upright(marked, inverse))
    assert (box.x, box.y) == pytest.approx((columns.min(), rows.min()), abs=0.01)
    assert (box.width, box.height) == pytest.approx((np.ptp(columns) + 1, np.ptp(rows) + 1), abs=0.02)
    assert (QualityFlag.TURNED_UPRIGHT in film.quality_flags) == (orientation != 1)
    assert film.view is View.PA
