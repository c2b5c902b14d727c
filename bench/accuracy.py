"""Accuracy of the karyotype cascade on real, unseen spreads, INT8 beside FP32: writes docs/accuracy.md.

Truth is the boxes and classes of the held-out split (CIL:54816, `test.json`). Intervals resample whole cases,
because the cells of one case look alike.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from appliance import RESEARCH_USE_ONLY
from appliance.analysis import CHROMOSOME_LABELS, Chromosome
from appliance.errors import UnsuitableImage
from appliance.imaging import ImageDecoder
from bench.bare import BareEngines
from bench.cascade import FACTORY_PACKS
from bench.report import Row, Target, commit, machine, publish
from engine_builder.metrics import (
    Interval,
    ScoredImage,
    average_precision_interval,
    class_hits,
    share_interval,
)
from engines import EngineOptions, QuantizedGraph

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "docs" / "accuracy.md"
SAMPLE_SEED = 54816
MIN_IOU = 0.5


@dataclass(frozen=True)
class TrueSpread:
    """One image of the held-out split and what is true of it."""

    path: Path
    case: str
    boxes: np.ndarray[Any, np.dtype[np.float64]]  # (M, 4) x0, y0, x1, y1 in pixels
    labels: np.ndarray[Any, np.dtype[np.int64]]  # (M,) index into CHROMOSOME_LABELS


@dataclass(frozen=True)
class Metric:
    """A figure of the report."""

    name: str
    meaning: str
    interval: Interval


def read_split(metaphases: Path, how_many: int | None) -> list[TrueSpread]:
    """The held-out spreads, or a random sample of them that is the same every time.

    Args:
        metaphases: folder with `test.json` and the images that it names.
        how_many: size of the sample; None means all.
    """
    document = json.loads((metaphases / "test.json").read_text())
    index_of = {c["id"]: CHROMOSOME_LABELS.index(c["name"]) for c in document["categories"]}
    marked: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in document["images"]}
    for annotation in document["annotations"]:
        marked[annotation["image_id"]].append(annotation)
    spreads = []
    for image in document["images"]:
        corners = np.array([a["bbox"] for a in marked[image["id"]]], dtype=np.float64).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        labels = np.array([index_of[a["category_id"]] for a in marked[image["id"]]], dtype=np.int64)
        spreads.append(TrueSpread(metaphases / image["file_name"], image["case"], corners, labels))
    if how_many is None or how_many >= len(spreads):
        return spreads
    chosen = np.random.default_rng(SAMPLE_SEED).choice(len(spreads), how_many, replace=False)
    return [spreads[index] for index in sorted(chosen)]


def analyse(engines: BareEngines, spreads: Sequence[TrueSpread], title: str) -> tuple[list[ScoredImage], int]:
    """Run the cascade on every spread; what it found, and how many it took for no spread at all."""
    scored, refused = [], 0
    with ImageDecoder() as decoder:
        for spread in track(spreads, title):
            found: tuple[Chromosome, ...] = ()
            try:
                found = engines.analyze(decoder.decode(spread.path.read_bytes())).chromosomes
            except UnsuitableImage:
                refused += 1  # and counts as nothing found
            scored.append(_scored(found, spread))
    return scored, refused


def _scored(found: Sequence[Chromosome], truth: TrueSpread) -> ScoredImage:
    boxes = [(c.box.x, c.box.y, c.box.x + c.box.width, c.box.y + c.box.height) for c in found]
    return ScoredImage(
        boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        scores=np.array([c.detection_confidence for c in found], dtype=np.float64),
        labels=np.array([CHROMOSOME_LABELS.index(c.label) for c in found], dtype=np.int64),
        true_boxes=truth.boxes,
        true_labels=truth.labels,
        cluster=truth.case,
    )


def metrics(images: Sequence[ScoredImage]) -> Iterator[Metric]:
    """The figures of the report for one arithmetic."""
    yield Metric(
        "count exact",
        "spreads with as many objects as were marked",
        share_interval(images, lambda image: (int(len(image.scores) == len(image.true_boxes)), 1)),
    )
    yield Metric(
        "detection AP50",
        "average precision of the boxes reported, IoU 0.5",
        average_precision_interval(images, MIN_IOU),
    )
    yield Metric(
        "class accuracy",
        "right class among the objects found (IoU 0.5)",
        share_interval(images, lambda image: class_hits(image, MIN_IOU)),
    )
    yield Metric(
        "found and right",
        "marked chromosomes that were found with the right class",
        share_interval(images, lambda image: (class_hits(image, MIN_IOU)[0], len(image.true_boxes))),
    )


def write_report(columns: dict[str, list[Metric]], facts: Sequence[str], path: Path = REPORT) -> None:
    """Write docs/accuracy.md: one row a figure, one column an arithmetic."""
    names = list(columns)
    lines = [
        "# Accuracy",
        "",
        f"Written by `make accuracy`; {RESEARCH_USE_ONLY}.",
        "",
        "| | " + " | ".join(names) + " | n | what it is |",
        "|---|" + "---|" * (len(names) + 2),
    ]
    for row in zip(*columns.values(), strict=True):
        cells = [f"{100 * m.interval.value:.1f} % ({_span(m.interval)})" for m in row]
        lines.append(f"| {row[0].name} | {' | '.join(cells)} | {row[0].interval.n} | {row[0].meaning} |")
    lines += ["", "In brackets 95 % intervals, bootstrapped over cases.", "", *facts]
    path.write_text("\n".join(lines) + "\n")


def _span(interval: Interval) -> str:
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def _row(precision: str, metric: Metric) -> Row:
    values = metric.interval
    target = Target(0.85, at_most=False) if metric.name == "count exact" else None
    return Row(f"{metric.name} {precision}", values.value, "", values.n, values.low, values.high, target)


def main() -> None:
    """Command line of `make accuracy`."""
    parser = argparse.ArgumentParser(prog="bench.accuracy", description=__doc__)
    default = os.environ.get("APPLIANCE_TEST_DATA") or ROOT.parent / "shared" / "data"
    parser.add_argument(
        "--data", type=Path, default=Path(default), help="folder that holds metaphases/test.json"
    )
    parser.add_argument(
        "--packs", type=Path, default=FACTORY_PACKS, help="folder with one pack per sub-folder"
    )
    parser.add_argument("--spreads", type=int, default=50, help="how many spreads; 0 means all")
    parser.add_argument(
        "--fp32",
        type=Path,
        help="folder with ROLE.onnx files as they were before quantisation; by default FP32 means float"
        " arithmetic on the packs' own weights",
    )
    words = parser.parse_args()
    spreads = read_split(words.data / "metaphases", words.spreads or None)
    columns: dict[str, list[Metric]] = {}
    facts = [
        f"- {len(spreads)} spreads of {len({s.case for s in spreads})} cases with"
        f" {sum(len(s.labels) for s in spreads)} marked chromosomes, of the held-out split of CIL:54816"
        " (doi 10.7295/W9CIL54816); no model was trained or chosen on them.",
    ]
    for name, graph, graphs in (
        ("INT8", QuantizedGraph.BEST, None),
        ("FP32", QuantizedGraph.FLOAT, words.fp32),
    ):
        with BareEngines(words.packs, EngineOptions(quantized_graph=graph), instead=graphs) as engines:
            images, refused = analyse(engines, spreads, name)
            facts.append(
                f"- {name}: " + "; ".join(f"{k} on {v}" for k, v in engines.precisions.items()) + "."
            )
            facts.append(f"- {name}: {refused} spreads were taken for images without a spread.")
            versions = engines.versions
        columns[name] = list(metrics(images))
    facts.append("- Packs: " + ", ".join(versions) + ".")
    facts.append(f"- Commit {commit()}, {machine()['processor']}, {machine()['cores']} cores.")
    write_report(columns, facts)
    rows = [_row(name, metric) for name, column in columns.items() for metric in column]
    print(f"\nwritten to {publish('accuracy', rows, {})} and {REPORT}")


if __name__ == "__main__":
    main()
