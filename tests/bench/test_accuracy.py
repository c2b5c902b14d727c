from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.accuracy import TrueSpread, metrics, read_split, write_report
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


def test_figures_and_the_page_that_shows_them(split: Path, tmp_path: Path) -> None:
    spreads = read_split(split, None)
    perfect = [scored(spread, [0, 22], keep=2) for spread in spreads]
    wrong_class = [scored(spread, [0, 21], keep=2) for spread in spreads]
    blind = [scored(spread, [0, 22], keep=1) for spread in spreads]
    page = tmp_path / "accuracy.md"

    columns = {name: list(metrics(images)) for name, images in [("INT8", perfect), ("FP32", wrong_class)]}
    write_report(columns, ["- a fact"], page)

    assert [round(m.interval.value, 3) for m in columns["INT8"]] == [1, 1, 1, 1]
    assert [round(m.interval.value, 3) for m in columns["FP32"]] == [1, 1, 0.5, 0.5]
    count, average_precision, right, found = [round(m.interval.value, 2) for m in metrics(blind)]
    assert (count, right, found) == (0.0, 1.0, 0.5)
    assert 0.49 < average_precision < 0.52
    text = page.read_text()
    assert "research use only" in text
    assert "| | INT8 | FP32 | n | what it is |" in text
    assert "| class accuracy | 100.0 % (100.0 to 100.0) | 50.0 % (50.0 to 50.0) | 12 |" in text
    assert text.endswith("- a fact\n")
