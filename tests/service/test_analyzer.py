from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from appliance.analysis import CHROMOSOME_LABELS, Modality, StageEvent
from appliance.clock import Deadline
from appliance.errors import (
    Cancelled,
    DeadlineExceeded,
    EmptyInput,
    InvalidInput,
    StorageUnavailable,
    UnsuitableImage,
)
from appliance.imaging import Image, PixelType
from appliance.imaging.page import PageFormat
from appliance.inference import Priority, RequestContext
from appliance.service import AnalysisRequest, RawImage
from tests.simulators.appliance import Bench, chest_dicom, film_png, spread_png


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("state")) as bench:
        yield bench


def test_a_spread_is_analysed_drawn_and_committed(bench: Bench) -> None:
    told: list[StageEvent] = []
    request = AnalysisRequest(
        spread_png(),
        pixel_size_um=0.065,
        request_id="slide 7",
        overlay=True,
        karyogram_formats=tuple(PageFormat),
    )
    analysis = bench.analyzer.analyze_metaphase(request, RequestContext(), told.append)
    assert analysis.spread is not None
    assert analysis.spread.count == len(bench.truth.masks)
    assert analysis.spread.pixel_size_um == 0.065
    assert {one.label for one in analysis.spread.chromosomes} == set(CHROMOSOME_LABELS)
    assert analysis.request_id == "slide 7"
    assert set(analysis.renderings) == {"overlay", "karyogram.png", "karyogram.svg", "karyogram.pdf"}
    starts = {name: picture[:5] for name, picture in analysis.renderings.items()}
    assert starts.pop("karyogram.svg") == b"<?xml"
    assert starts.pop("karyogram.pdf") == b"%PDF-"
    assert set(starts.values()) == {b"\x89PNG\r"}
    names = [stage.stage for stage in analysis.stages]
    assert names == ["decode", "segment", "detect", "classify", "pair", "draw"]
    assert [event.report.stage for event in told] == names
    assert bench.store.get(analysis.result_id) == analysis


def test_raw_samples_give_the_same_result(bench: Bench) -> None:
    grey = bench.truth.grey
    raw = RawImage(grey.tobytes(), grey.shape, PixelType.UINT8)
    analysis = bench.analyzer.analyze_metaphase(AnalysisRequest(raw), RequestContext())
    assert analysis.spread is not None
    assert analysis.spread.count == len(bench.truth.masks)
    assert analysis.renderings == {}


def test_a_film_is_analysed_and_committed(bench: Bench) -> None:
    analysis = bench.analyzer.analyze_chest_film(
        AnalysisRequest(bench.film_png, overlay=True), RequestContext()
    )
    assert analysis.film is not None
    assert [one.label for one in analysis.film.findings] == ["Cardiomegaly"]
    assert set(analysis.renderings) == {"overlay"}
    assert bench.store.get(analysis.result_id).modality is Modality.CHEST_XRAY


def test_an_image_that_says_it_is_something_else(bench: Bench) -> None:
    with pytest.raises(UnsuitableImage, match="whose header says chest-xray"):
        bench.analyzer.analyze_metaphase(AnalysisRequest(chest_dicom()), RequestContext())


def test_nothing_is_kept_of_what_failed(bench: Bench) -> None:
    before = bench.store.newest_cursor
    gone = RequestContext(cancelled=threading.Event())
    gone.cancelled.set()
    attempts = (
        (AnalysisRequest(b""), RequestContext(), EmptyInput),
        (AnalysisRequest(spread_png()), RequestContext(Deadline.after(0.001)), DeadlineExceeded),
        (AnalysisRequest(spread_png()), gone, Cancelled),
    )
    for request, context, error in attempts:
        with pytest.raises(error):
            bench.analyzer.analyze_metaphase(request, context)
    assert bench.store.newest_cursor == before


def test_a_caller_who_hangs_up_at_the_end_gets_no_stored_result(bench: Bench) -> None:
    before = bench.store.newest_cursor
    context = RequestContext()

    def hang_up(event: StageEvent) -> None:
        if event.report.stage == "pair":
            context.cancelled.set()

    with pytest.raises(Cancelled):
        bench.analyzer.analyze_metaphase(AnalysisRequest(spread_png()), context, hang_up)
    assert bench.store.newest_cursor == before


def test_an_answer_that_cannot_be_stored_is_not_given(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        bench.store.close()
        with pytest.raises(StorageUnavailable):
            bench.analyzer.analyze_chest_film(AnalysisRequest(bench.film_png), RequestContext())


@pytest.mark.parametrize("size_um", [0.0, -1.0, float("nan"), float("inf")])
def test_a_pixel_size_that_is_none(size_um: float) -> None:
    with pytest.raises(InvalidInput, match="pixel size"):
        AnalysisRequest(b"x", pixel_size_um=size_um)


@pytest.mark.parametrize("request_id", ["x" * 129, "a\nb"])
def test_a_request_id_that_is_none(request_id: str) -> None:
    with pytest.raises(InvalidInput, match="request id"):
        AnalysisRequest(b"x", request_id=request_id)


def test_a_blank_field_is_no_spread(bench: Bench) -> None:
    blank = RawImage(np.full((200, 300), 255, np.uint8).tobytes(), (200, 300), PixelType.UINT8)
    with pytest.raises(UnsuitableImage):
        bench.analyzer.analyze_metaphase(AnalysisRequest(blank), RequestContext())


def test_an_urgent_image_is_decoded_before_those_that_wait(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    decode = bench.decoder.decode
    first_in, go_on = threading.Event(), threading.Event()

    def watched(data: bytes, *rest: object) -> Image:
        order.append(names[data])
        if len(order) == 1:
            first_in.set()
            assert go_on.wait(10.0)
        return decode(data, *rest)  # type: ignore[arg-type]

    names = {film_png() + bytes([n]): name for n, name in enumerate(["first", "patient", "urgent"])}
    images = {name: AnalysisRequest(data) for data, name in names.items()}
    monkeypatch.setattr(bench.decoder, "decode", watched)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(bench.analyzer.analyze_chest_film, images["first"], RequestContext())
        assert first_in.wait(10.0)
        patient = pool.submit(bench.analyzer.analyze_chest_film, images["patient"], RequestContext())
        wait_until(lambda: bench.decoding.waiting == 1)
        context = RequestContext(priority=Priority.INTERACTIVE)
        urgent = pool.submit(bench.analyzer.analyze_chest_film, images["urgent"], context)
        wait_until(lambda: order == ["first", "urgent"])
        go_on.set()
        assert all(one.result(30.0).film for one in (first, patient, urgent))
    assert order == ["first", "urgent", "patient"]


def wait_until(holds: Callable[[], bool]) -> None:
    moment = threading.Event()
    for _ in range(2000):
        if holds():
            return
        moment.wait(0.005)
    raise AssertionError("it never came true")
