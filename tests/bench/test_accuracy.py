from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.karyotype_figures import spread_metrics, stand_metrics, uncorrected
from bench.karyotype_report import rows, write_report
from bench.karyotype_run import Reading, Stand, turn_error
from bench.karyotype_truth import TrueSpread, read_split
from engine_builder.metrics import ScoredImage

CASES = 6


@pytest.fixture
def split(tmp_path: Path) -> Path:
    images = [{"id": n, "file_name": f"images/{n}.webp", "case": f"case-{n // 2}"} for n in range(CASES)]
    annotations = [
        {"image_id": n, "category_id": category, "bbox": [10 * category, 5, 4, 8]}
        for n in range(CASES)
        for category in (1, 23)
    ]
    categories = [{"id": 1, "name": "1"}, {"id": 23, "name": "X"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "test.json").write_text(json.dumps(document))
    return tmp_path


def scored(truth: TrueSpread, labels: list[int], keep: int) -> ScoredImage:
    return ScoredImage(
        boxes=truth.boxes[:keep],
        scores=np.full(keep, 0.9),
        labels=np.array(labels[:keep], dtype=np.int64),
        true_boxes=truth.boxes,
        true_labels=truth.labels,
        cluster=truth.case,
    )


def test_truth_is_read_as_corners_and_label_indices(split: Path) -> None:
    spreads = read_split(split, None)

    assert len(spreads) == CASES
    assert spreads[0].path == split / "images" / "0.webp"
    assert spreads[3].case == "case-1"
    assert spreads[0].boxes.tolist() == [[10, 5, 14, 13], [230, 5, 234, 13]]
    assert spreads[0].labels.tolist() == [0, 22]


def test_a_sample_is_the_same_every_time_and_no_larger_than_the_split(split: Path) -> None:
    names = [spread.path.name for spread in read_split(split, 3)]

    assert len(set(names)) == 3
    assert names == [spread.path.name for spread in read_split(split, 3)]
    assert len(read_split(split, 99)) == CASES


def reading(image: ScoredImage, confidence: float = 0.9, iscn: str | None = None) -> Reading:
    number = len(image.scores)
    return Reading(
        path=Path("1.webp"),
        scored=image,
        confidence=np.full(number, confidence),
        alone=np.full(number, 0.5),
        needs_expert=np.full(number, confidence < 0.8),
        iscn=iscn,
        refused=False,
    )


def values(readings: list[Reading]) -> dict[str, float]:
    return {metric.name: round(metric.interval.value, 3) for metric in spread_metrics(readings)}


def test_figures_on_spreads(split: Path) -> None:
    spreads = read_split(split, None)
    perfect = values([reading(scored(spread, [0, 22], keep=2)) for spread in spreads])
    assert perfect["AP50"] == perfect["AP75"] == perfect["count exact"] == perfect["segmentation"] == 1
    assert perfect["class"] == perfect["whole spreads right"] == perfect["needs no expert"] == 1
    assert perfect["calibration error"] == 0.1
    assert perfect["calibration error before"] == 0.5
    assert perfect["karyotype stated"] == 0
    assert "stated and right" not in perfect
    wrong = values([reading(scored(spread, [0, 21], keep=2), 0.7) for spread in spreads])
    assert (wrong["class"], wrong["found and right"], wrong["needs no expert"]) == (0.5, 0.5, 0)
    blind = values([reading(scored(spread, [0, 22], keep=1)) for spread in spreads])
    assert (blind["count exact"], blind["class"], blind["found and right"]) == (0, 1, 0.5)
    assert (blind["segmentation"], blind["whole spreads right"]) == (0.5, 0)


def test_what_a_person_would_have_to_correct() -> None:
    marked = np.array([[0, 0, 10, 40], [20, 0, 30, 40]], dtype=np.float64)

    def count(*boxes: tuple[float, float, float, float]) -> tuple[int, int]:
        found = np.array(boxes, dtype=np.float64).reshape(-1, 4)
        scores = np.linspace(0.9, 0.5, len(found))
        labels = np.zeros(len(found), np.int64)
        return uncorrected(ScoredImage(found, scores, labels, marked, np.zeros(2, np.int64)))

    assert count((0, 0, 10, 40), (20, 0, 30, 40)) == (2, 2)
    assert count((0, 0, 10, 40)) == (1, 2)
    assert count((0, 0, 10, 40), (20, 0, 30, 24)) == (1, 2)  # found, and yet to be drawn anew
    assert count((0, 0, 30, 40)) == (0, 2)  # two outlined as one
    assert count((0, 0, 10, 40), (20, 0, 30, 40), (20, 25, 30, 40)) == (1, 2)  # a piece beside the whole
    assert count((0, 0, 10, 40), (20, 0, 30, 40), (60, 0, 70, 40)) == (2, 2)  # dirt somewhere else
    assert count() == (0, 2)


def test_orientation_figures() -> None:
    stands = [Stand("a", 9, 10, 8, 12), Stand("b", 10, 10, 12, 12)]
    found = {metric.name: metric.interval for metric in stand_metrics(stands, [Stand("s", 98, 99, 0, 100)])}
    assert found["polarity, real"].value == 98 / 99
    assert found["polarity, real, stated"].value == 0.99
    assert found["polarity, phantoms"].value == 0.95
    assert (found["angle within 10°"].value, found["angle within 10°"].n) == (20 / 24, 24)
    assert turn_error(89.0, -89.0, 180.0) == 2.0
    assert turn_error(-179.0, 179.0, 360.0) == 2.0


def test_the_page_and_the_rows(split: Path, tmp_path: Path) -> None:
    spreads = read_split(split, None)
    right = list(spread_metrics([reading(scored(s, [0, 22], keep=2), iscn="46,XX") for s in spreads]))
    half = list(spread_metrics([reading(scored(s, [0, 21], keep=2)) for s in spreads]))
    page = tmp_path / "accuracy.md"
    write_report({"INT8": right, "FP32": half}, ["- a fact"], [("Reliability", "accuracy/r.svg")], page)
    text = page.read_text()
    assert "research use only" in text
    assert "| | INT8 | FP32 | n | target | what it is |" in text
    assert "| class | 100.0 % (100.0 to 100.0) | 50.0 % (50.0 to 50.0) | 12 | at least 95 %: met |" in text
    assert "| stated and right | 0.0 % (0.0 to 0.0) |  | 6 |" in text
    assert "- a fact\n\n## Reliability\n\n![Reliability](accuracy/r.svg)\n" in text
    lost = {row.name: row for row in rows({"INT8": right, "FP32": half}) if "lost" in row.name}
    assert lost["class, lost by INT8"].value == -0.5
    assert lost["class, lost by INT8"].verdict == "met"


def test_plots(split: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the build extra")
    from bench import karyotype_plots as plots

    readings = [reading(scored(spread, [0, 22], keep=2)) for spread in read_split(split, None)]
    for plot in (plots.plot_reliability, plots.plot_abstention, plots.plot_confusion):
        first, second = tmp_path / "1.svg", tmp_path / "2.svg"
        plot(readings, first)
        plot(readings, second)
        assert first.read_bytes() == second.read_bytes()
    assert not plots.plot_learning(tmp_path, tmp_path / "learning.svg")
    (tmp_path / "detector.jsonl").write_text('{"step": 1, "spent_s": 2, "ap50": 0.5}\n')
    assert plots.plot_learning(tmp_path, tmp_path / "learning.svg")
    blind = reading(scored(read_split(split, None)[0], [0, 22], keep=1))
    assert plots.worst([*readings, blind], 1) == [blind]
