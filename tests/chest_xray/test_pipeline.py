"""The whole chest X-ray path with an engine that answers from known findings."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.analysis import Box, Film, Finding, QualityFlag
from appliance.chest_xray.artist import FilmArtist
from appliance.chest_xray.pipeline import ChestXrayPipeline
from appliance.chest_xray.settings import ChestXraySettings
from appliance.errors import Cancelled, ModelUnavailable, UnsuitableImage
from appliance.imaging.image import Image, MediaType
from appliance.inference.request import RequestContext
from appliance.models.reference import FINDING_LABELS
from tests.simulators.film_engines import FilmEngines

FINDINGS = (
    Finding("Cardiomegaly", 0.91, Box(700.0, 1400.0, 900.0, 600.0)),
    Finding("Nodule/Mass", 0.55, Box(300.0, 500.0, 80.0, 90.0)),
    Finding("Pneumothorax", 0.30, Box(1500.0, 200.0, 500.0, 700.0)),
)


def film(width: int = 2140, height: int = 2500, low: int = 10, high: int = 245) -> Image:
    grey = np.linspace(low, high, width, dtype=np.float64)[None].repeat(height, axis=0).astype(np.uint8)
    return Image(np.ascontiguousarray(grey), MediaType.PNG, 8)


def analyze(image: Image, engines: FilmEngines, demonstration: bool = False) -> Film:
    about = engines.model(demonstration=demonstration)
    return ChestXrayPipeline(engines, lambda: about).analyze(image, RequestContext())[0]


@pytest.mark.parametrize("end_to_end", [False, True])
def test_findings_come_back_in_film_pixels_best_first(end_to_end: bool) -> None:
    image = film()
    engines = FilmEngines(image.width, image.height, FINDINGS[::-1], end_to_end)
    found = analyze(image, engines).findings
    assert [one.label for one in found] == ["Cardiomegaly", "Nodule/Mass", "Pneumothorax"]
    for one, expected in zip(found, FINDINGS, strict=True):
        assert one.confidence == pytest.approx(expected.confidence, abs=1e-6)
        for side in ("x", "y", "width", "height"):
            assert getattr(one.box, side) == pytest.approx(getattr(expected.box, side), abs=0.01)


def test_thresholds_come_from_the_model_that_answered() -> None:
    image = film()
    engines = FilmEngines(image.width, image.height, FINDINGS)
    about = engines.model({"Nodule/Mass": 0.6, "Pneumothorax": 0.2})
    found, (report,) = ChestXrayPipeline(engines, lambda: about).analyze(image, RequestContext())
    assert [one.label for one in found.findings] == ["Cardiomegaly", "Pneumothorax"]
    assert (report.stage, report.calls, report.engine_ms) == ("detect", 1, 2.0)
    assert (report.model_name, report.model_version, report.engine) == ("films", "2.1.0", "truth")
    assert report.time_ms > 0


@pytest.mark.parametrize("size", [640, 1024])
@pytest.mark.parametrize("end_to_end", [False, True])
def test_the_input_is_as_large_as_the_models_contract_says(size: int, end_to_end: bool) -> None:
    image = film(1800, 1500)
    engines = FilmEngines(image.width, image.height, FINDINGS[1:2], end_to_end, size)
    found = analyze(image, engines).findings
    assert engines.inputs[0].shape == (1, 3, size, size)
    assert found[0].box.x == pytest.approx(FINDINGS[1].box.x, abs=0.01)


def test_a_label_that_means_nothing_was_found_is_never_a_finding() -> None:
    image = film()
    engines = FilmEngines(image.width, image.height, FINDINGS)
    labels = tuple("No_finding" if label == "Nodule/Mass" else label for label in FINDING_LABELS)
    about = replace(engines.model(), labels=labels)
    found, _ = ChestXrayPipeline(engines, lambda: about).analyze(image, RequestContext())
    assert [one.label for one in found.findings] == ["Cardiomegaly", "Pneumothorax"]


def test_an_answer_of_another_model_than_the_one_asked_is_asked_again() -> None:
    image = film()
    engines = FilmEngines(image.width, image.height, FINDINGS)
    old = replace(engines.model(), identity=replace(engines.identity, version="1.0.0"))
    models = iter([old, engines.model()])
    found, (report,) = ChestXrayPipeline(engines, lambda: next(models)).analyze(image, RequestContext())
    assert (len(found.findings), report.model_version, len(engines.inputs)) == (3, "2.1.0", 2)
    with pytest.raises(ModelUnavailable, match="replaced again and again"):
        ChestXrayPipeline(engines, lambda: old).analyze(image, RequestContext())


@pytest.mark.parametrize(("takes_pixels", "dtype"), [(True, np.uint8), (False, np.float32)])
def test_an_engine_that_takes_pixels_gets_them(takes_pixels: bool, dtype: type) -> None:
    image = film()
    engines = FilmEngines(image.width, image.height, FINDINGS)
    pipeline = ChestXrayPipeline(engines, lambda: engines.model(takes_pixels=takes_pixels))
    assert len(pipeline.analyze(image, RequestContext())[0].findings) == len(FINDINGS)
    assert [array.dtype for array in engines.inputs] == [dtype]


def test_demonstration_model_is_flagged_even_without_findings() -> None:
    image = film()
    engines = FilmEngines(image.width, image.height, ())
    assert analyze(image, engines, demonstration=True) == Film((), (QualityFlag.DEMONSTRATION_MODEL,))


def test_low_contrast_and_a_full_list_are_flagged() -> None:
    image = film(low=100, high=125)
    engines = FilmEngines(image.width, image.height, FINDINGS)
    pipeline = ChestXrayPipeline(engines, engines.model, ChestXraySettings(max_findings=2))
    answer = pipeline.analyze(image, RequestContext())[0]
    assert len(answer.findings) == 2
    assert answer.quality_flags == (QualityFlag.LOW_CONTRAST, QualityFlag.DETECTION_LIMIT)


@pytest.mark.parametrize("level", [0, 255])
def test_blank_film_is_refused_before_the_engine(level: int) -> None:
    image = film(low=level, high=level)
    engines = FilmEngines(image.width, image.height, FINDINGS)
    with pytest.raises(UnsuitableImage, match="the image is blank"):
        analyze(image, engines)
    assert engines.inputs == []


def test_a_caller_who_hung_up_gets_no_engine_call() -> None:
    image = film()
    engines = FilmEngines(image.width, image.height, FINDINGS)
    gone = threading.Event()
    gone.set()
    with pytest.raises(Cancelled):
        ChestXrayPipeline(engines, engines.model).analyze(image, RequestContext(cancelled=gone))
    assert engines.inputs == []


def test_thresholds_for_unknown_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="expected thresholds for the model's labels and got Fracture"):
        FilmEngines(100, 100, ()).model({"Fracture": 0.5})


def decoded(png: bytes) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture, dtype=np.uint8)


def test_overlay_draws_every_box_and_the_notice() -> None:
    image = film(1000, 1200)
    plain = decoded(FilmArtist().overlay(image, Film(())))
    findings = (
        Finding("Cardiomegaly", 0.9, Box(300, 700, 400, 200)),
        Finding("ILD", 0.4, Box(100, 100, 300, 300)),
    )
    drawn = decoded(FilmArtist().overlay(image, Film(findings, (QualityFlag.DEMONSTRATION_MODEL,))))
    assert drawn.shape == plain.shape
    scale = 1600 / 1200
    for one in findings:
        x, y = round(one.box.x * scale), round((one.box.y + one.box.height / 2) * scale)
        assert (drawn[y, x - 4 : x + 5] != plain[y, x - 4 : x + 5]).any()
    inside = drawn[round(800 * scale), round(450 * scale)]
    np.testing.assert_array_equal(inside, plain[round(800 * scale), round(450 * scale)])
    notice = plain[1600:, :400]
    assert (notice < 100).any()


def test_overlay_has_room_for_every_flag() -> None:
    image = film(1000, 1200)
    flags = (
        QualityFlag.DEMONSTRATION_MODEL,
        QualityFlag.VIEW_NOT_STATED,
        QualityFlag.BODY_PART_NOT_STATED,
        QualityFlag.LOOKS_INVERTED,
    )
    few, all_of_them = (decoded(FilmArtist().overlay(image, Film((), some))) for some in (flags[:2], flags))
    assert all_of_them.shape[0] - few.shape[0] == 2 * 36
    last = all_of_them[few.shape[0] + 36 :, all_of_them.shape[1] // 2 :]
    assert (last < 140).any()


def test_overlay_of_a_real_film(chest_xrays: Path) -> None:
    films = sorted(path for path in chest_xrays.rglob("*") if path.suffix in {".png", ".jpg", ".webp"})
    grey = cv2.imread(str(films[0]), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    image = Image(np.ascontiguousarray(grey, dtype=np.uint8), MediaType.PNG, 8)
    engines = FilmEngines(image.width, image.height, (Finding("Nodule/Mass", 0.8, Box(100, 200, 50, 60)),))
    answer = analyze(image, engines)
    assert answer.findings[0].box.x == pytest.approx(100, abs=0.01)
    assert decoded(FilmArtist().overlay(image, answer)).shape[0] > 1600
