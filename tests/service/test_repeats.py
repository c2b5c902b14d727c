from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.analysis import StageEvent
from appliance.errors import StorageUnavailable, UnsuitableImage
from appliance.imaging import PixelType, encode_png
from appliance.imaging.page import PageFormat
from appliance.inference import RepeatLimits, RequestContext
from appliance.models.manifest import Role
from appliance.service import AnalysisRequest, RawImage
from tests.simulators.appliance import Bench, demo_truth, film_png, spread_png


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path, RepeatLimits(64 << 20, 8)) as bench:
        yield bench


def test_the_same_image_again_is_a_result_of_its_own_that_says_what_it_repeats(bench: Bench) -> None:
    first = bench.analyzer.analyze_metaphase(
        AnalysisRequest(spread_png(), request_id="one"), RequestContext()
    )
    calls = bench.engines.calls
    again = bench.analyzer.analyze_metaphase(
        AnalysisRequest(spread_png(), request_id="two"), RequestContext()
    )
    assert bench.engines.calls == calls
    assert first.repeat_of == ""
    assert again.repeat_of == first.result_id
    assert again.result_id != first.result_id
    assert (again.request_id, again.spread) == ("two", first.spread)
    assert [stage.stage for stage in again.stages] == ["repeat", "segment", "detect", "classify"]
    assert all(stage.calls == 0 and stage.engine_ms == 0 for stage in again.stages)
    assert bench.store.get(again.result_id) == again
    assert bench.store.get(first.result_id) == first


def test_a_third_one_repeats_the_first(bench: Bench) -> None:
    ids = [bench.analyzer.analyze_chest_film(AnalysisRequest(film_png()), RequestContext()) for _ in range(3)]
    assert [one.repeat_of for one in ids] == ["", ids[0].result_id, ids[0].result_id]


def test_pictures_are_repeated_too_and_other_wishes_are_another_question(bench: Bench) -> None:
    plain = bench.analyzer.analyze_metaphase(AnalysisRequest(spread_png()), RequestContext())
    drawn = bench.analyzer.analyze_metaphase(
        AnalysisRequest(spread_png(), karyogram_formats=(PageFormat.PNG,)), RequestContext()
    )
    again = bench.analyzer.analyze_metaphase(
        AnalysisRequest(spread_png(), karyogram_formats=(PageFormat.PNG,)), RequestContext()
    )
    sized = bench.analyzer.analyze_metaphase(
        AnalysisRequest(spread_png(), pixel_size_um=0.1), RequestContext()
    )
    assert (plain.repeat_of, drawn.repeat_of, sized.repeat_of) == ("", "", "")
    assert again.repeat_of == drawn.result_id
    assert again.renderings == drawn.renderings


def test_a_stream_tells_that_it_repeats(bench: Bench) -> None:
    told: list[StageEvent] = []
    for _ in range(2):
        told.clear()
        bench.analyzer.analyze_metaphase(AnalysisRequest(spread_png()), RequestContext(), told.append)
    assert [event.report.stage for event in told] == ["repeat"]


def test_after_an_update_of_a_model_it_is_computed_again(bench: Bench) -> None:
    bench.analyzer.analyze_metaphase(AnalysisRequest(spread_png()), RequestContext())
    role = Role.KARYOTYPE_DETECTOR
    bench.loaded[role] = replace(bench.loaded[role], version="1.0.1")
    assert bench.analyzer.analyze_metaphase(AnalysisRequest(spread_png()), RequestContext()).repeat_of == ""


def test_nothing_is_kept_while_a_model_is_missing(bench: Bench) -> None:
    del bench.loaded[Role.CHEST_XRAY_DETECTOR]
    for _ in range(2):
        film = bench.analyzer.analyze_chest_film(AnalysisRequest(film_png()), RequestContext())
        assert film.repeat_of == ""
    assert len(bench.repeats) == 0


def test_raw_samples(bench: Bench) -> None:
    grey = demo_truth().grey
    raw = RawImage(grey.tobytes(), grey.shape, PixelType.UINT8)
    results = [bench.analyzer.analyze_metaphase(AnalysisRequest(raw), RequestContext()) for _ in range(2)]
    assert results[1].repeat_of == results[0].result_id


def test_errors_are_not_kept(bench: Bench) -> None:
    blank = encode_png(demo_truth().grey * 0 + 255)
    for _ in range(2):
        with pytest.raises(UnsuitableImage):
            bench.analyzer.analyze_metaphase(AnalysisRequest(blank), RequestContext())
    assert len(bench.repeats) == 0


def test_an_answer_that_could_not_be_stored_is_neither_given_nor_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageUnavailable("the disk is full")

    bench.analyzer.analyze_chest_film(AnalysisRequest(film_png()), RequestContext())
    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "commit", refuse)
        with pytest.raises(StorageUnavailable):
            bench.analyzer.analyze_chest_film(AnalysisRequest(film_png()), RequestContext())
        with pytest.raises(StorageUnavailable):
            bench.analyzer.analyze_metaphase(AnalysisRequest(spread_png()), RequestContext())
    assert len(bench.repeats) == 1


def test_off_by_default(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        for _ in range(2):
            film = bench.analyzer.analyze_chest_film(AnalysisRequest(film_png()), RequestContext())
            assert film.repeat_of == ""
