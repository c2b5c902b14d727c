"""How good a detector is on patients that it never saw: AP of each class at IoU 0.4 and 0.5, with intervals.

IoU 0.4 is what VinDr-CXR's challenge was scored at, 0.5 what others report. Intervals are 95 % percentile
bootstrap over patients.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from appliance import RESEARCH_USE_ONLY
from appliance.chest_xray.decoding import decode, suppress
from appliance.chest_xray.settings import ChestXraySettings
from appliance.models.film_contract import HeadLayout
from appliance.models.reference import FINDING_LABELS
from engine_builder.metrics import (
    Interval,
    ScoredImage,
    average_precision_interval,
    mean_average_precision_interval,
)
from engine_builder.recipe import Infer
from engine_builder.vindr.films import VindrFilm, VindrSet

IOUS: Final = (0.4, 0.5)
LEAST_SCORE: Final = 0.01
"""Detections below do not move an average precision."""


@dataclass(frozen=True)
class ClassScore:
    """One class at one overlap."""

    label: str
    min_iou: float
    precision: Interval  # n is the number of true boxes


@dataclass(frozen=True)
class VindrReport:
    """All that was measured."""

    classes: tuple[ClassScore, ...]  # of the classes that the test films have
    mean: dict[str, Interval]  # "map40" and "map50"; n is the number of films
    absent: tuple[str, ...]  # classes without a box on the test films


def measure(
    infer: Infer, films: Sequence[VindrFilm], rounds: int = 1000, ious: Sequence[float] = IOUS
) -> VindrReport:
    """Run a detector over films and score it class by class.

    Args:
        infer: answers {"images"} with {"output0"} in the grid layout.
        films: of patients that training never saw.
        rounds: of the bootstrap.
        ious: overlaps.
    """
    by_class: list[list[ScoredImage]] = [[] for _ in FINDING_LABELS]
    limits = np.full(len(FINDING_LABELS), LEAST_SCORE)
    settings = ChestXraySettings()
    for film in films:
        plane = film.grey().astype(np.float32) / np.float32(255)
        output = infer({"images": np.repeat(plane[None, None], 3, axis=1)})["output0"]
        found = suppress(decode(output, HeadLayout.GRID, limits), settings.max_iou, settings.max_findings)
        for label, images in enumerate(by_class):
            ours, true = found.take(found.classes == label), film.labels == label
            images.append(
                ScoredImage(
                    boxes=ours.boxes,
                    scores=ours.scores,
                    labels=np.full(len(ours), label, np.int64),
                    true_boxes=film.boxes[true],
                    true_labels=film.labels[true],
                    cluster=film.entry.patient,
                )
            )
    present = [label for label, images in enumerate(by_class) if any(len(one.true_boxes) for one in images)]
    scores = tuple(
        ClassScore(FINDING_LABELS[label], iou, average_precision_interval(by_class[label], iou, rounds))
        for label in present
        for iou in ious
    )
    mean = {
        f"map{round(iou * 100)}": mean_average_precision_interval(
            [by_class[label] for label in present], iou, rounds
        )
        for iou in ious
    }
    absent = tuple(name for label, name in enumerate(FINDING_LABELS) if label not in present)
    return VindrReport(scores, mean, absent)


def write_report(report: VindrReport, films: VindrSet, folder: Path) -> tuple[Path, Path]:
    """Write `vindr.report.json` and `vindr.report.md`; their paths."""
    parts = {"train": films.train, "val": films.val, "test": films.test}
    tree: dict[str, object] = {
        "notice": RESEARCH_USE_ONLY,
        "films": {name: len(part) for name, part in parts.items()},
        "patients": {name: len({one.entry.patient for one in part}) for name, part in parts.items()},
        "grouped_by": dict(Counter(one.entry.grouped_by for part in parts.values() for one in part)),
        "refused": films.refused,
        "counted_as_other_lesion": films.folded,
        "mean": {name: asdict(interval) for name, interval in report.mean.items()},
        "classes": [asdict(score) for score in report.classes],
        "absent": list(report.absent),
    }
    path, table = folder / "vindr.report.json", folder / "vindr.report.md"
    path.write_text(json.dumps(tree, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    table.write_text(_markdown(report, tree), encoding="utf-8")
    return path, table


def _markdown(report: VindrReport, tree: dict[str, object]) -> str:
    by_label: dict[str, dict[float, Interval]] = {}
    for score in report.classes:
        by_label.setdefault(score.label, {})[score.min_iou] = score.precision
    ious = sorted({score.min_iou for score in report.classes})
    lines = [
        f"**{RESEARCH_USE_ONLY}**",
        "",
        f"Films {tree['films']}, patients {tree['patients']}, grouped by {tree['grouped_by']}. Intervals:"
        " 95 % bootstrap over patients.",
        "",
        f"| class | boxes |{''.join(f' AP at IoU {iou:g} |' for iou in ious)}",
        f"|---|---|{'---|' * len(ious)}",
    ]
    for label, intervals in by_label.items():
        boxes = next(iter(intervals.values())).n
        lines.append(f"| {label} | {boxes} |{''.join(f' {_shown(intervals[iou])} |' for iou in ious)}")
    means = "".join(f" {_shown(interval)} |" for interval in report.mean.values())
    lines.append(f"| mean of the classes present | |{means}")
    if report.absent:
        lines += ["", f"Without a box on the test films, so not measured: {', '.join(report.absent)}."]
    return "\n".join(lines) + "\n"


def _shown(interval: Interval) -> str:
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
