"""The plots of the accuracy report: reliability, abstention, confusion, learning curves, worst cases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from appliance.analysis import CHROMOSOME_LABELS
from appliance.imaging import ImageDecoder
from appliance.inference.request import RequestContext
from appliance.karyotype.cascade import KaryotypePipeline
from appliance.karyotype.overlay import draw_overlay
from bench.bare import BareEngines
from bench.karyotype_figures import judged
from bench.karyotype_run import MIN_IOU, Reading
from engine_builder.confidence import Judged, calibration_error
from engine_builder.metrics import class_hits, match

BEFORE, AFTER = "#8c8c8c", "#1f6fb4"
_BINS = 12
# Element ids and the date would make every run's file another one.
mpl.rcParams["svg.hashsalt"] = "accuracy"
_METADATA = {"Date": None, "Creator": None}


def plot_reliability(readings: Sequence[Reading], path: Path) -> None:
    """Share right over confidence, before and after calibration, in bins of equal size."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.7)
    for name, colour, part in (
        ("classifier's own softmax", BEFORE, judged(readings, lambda each: each.alone)),
        ("reported", AFTER, judged(readings, lambda each: each.confidence)),
    ):
        confidence, right = _binned(part)
        error = 100 * calibration_error(part)
        axes.plot(confidence, right, "o-", color=colour, label=f"{name}, calibration error {error:.1f} %")
    axes.set(xlabel="confidence", ylabel="share of right classes", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left", fontsize=8)
    figure.savefig(path, metadata=_METADATA)


def _binned(part: Judged) -> tuple[list[float], list[float]]:
    bins = [b for b in np.array_split(np.argsort(part.confidence, kind="stable"), _BINS) if len(b)]
    return [float(part.confidence[b].mean()) for b in bins], [float(part.right[b].mean()) for b in bins]


def plot_abstention(readings: Sequence[Reading], path: Path) -> None:
    """Accuracy of what is answered over the share that is answered, as the threshold falls."""
    part = judged(readings, lambda each: each.confidence)
    order = np.argsort(-part.confidence, kind="stable")
    coverage = np.arange(1, len(order) + 1) / len(order)
    accuracy = np.cumsum(part.right[order]) / np.arange(1, len(order) + 1)
    passed = np.concatenate([~each.needs_expert[match(each.scored, MIN_IOU) >= 0] for each in readings])
    figure = Figure(figsize=(5.5, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(coverage[20:], accuracy[20:], color=AFTER)
    axes.plot(
        passed.mean(),
        part.right[passed].mean(),
        "o",
        color="black",
        label=f'"needs the expert": {100 * (1 - passed.mean()):.0f} %',
    )
    axes.set(xlabel="share answered without the expert", ylabel="share right of it", xlim=(0, 1))
    axes.legend(loc="lower left", fontsize=8)
    figure.savefig(path, metadata=_METADATA)


def plot_confusion(readings: Sequence[Reading], path: Path) -> None:
    """Classes reported over true classes, each row in percent."""
    table = np.zeros((len(CHROMOSOME_LABELS), len(CHROMOSOME_LABELS)))
    for each in readings:
        taken = match(each.scored, MIN_IOU)
        for label, truth in zip(each.scored.labels, taken, strict=True):
            if truth >= 0:
                table[each.scored.true_labels[truth], label] += 1
    shares = 100 * table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for row, column in np.argwhere(shares >= 1.0):
        ink = "white" if shares[row, column] > 50 else "black"
        axes.text(column, row, f"{shares[row, column]:.0f}", ha="center", va="center", fontsize=7, color=ink)
    axes.set_xticks(range(len(CHROMOSOME_LABELS)), CHROMOSOME_LABELS)
    axes.set_yticks(range(len(CHROMOSOME_LABELS)), CHROMOSOME_LABELS)
    axes.set(xlabel="class reported", ylabel="marked class, 100 % a row")
    figure.savefig(path, metadata=_METADATA)


def plot_learning(checkpoints: Path, path: Path) -> bool:
    """Validation figures over training steps, from the trainers' logs; False where there are none."""
    logs = {log.stem: _rows(log) for log in sorted(checkpoints.glob("*.jsonl"))}
    logs = {name: rows for name, rows in logs.items() if rows}
    if not logs:
        return False
    figure = Figure(figsize=(4 * len(logs), 3.6), layout="constrained")
    for axes, (name, rows) in zip(figure.subplots(1, len(logs), squeeze=False)[0], logs.items(), strict=True):
        for figure_name in (key for key in rows[-1] if key not in ("step", "spent_s")):
            points = [(row["step"], row[figure_name]) for row in rows if figure_name in row]
            axes.plot(*zip(*points, strict=True), "o-", markersize=3, label=figure_name)
        axes.set(title=name, xlabel="step", ylim=(0, 1))
        axes.legend(fontsize=7, loc="lower right")
    figure.savefig(path, metadata=_METADATA)
    return True


def _rows(log: Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.strip()]


def worst(readings: Sequence[Reading], how_many: int) -> list[Reading]:
    """The spreads with the smallest share of marked chromosomes found with the right class."""

    def share(reading: Reading) -> float:
        return class_hits(reading.scored, MIN_IOU)[0] / max(len(reading.scored.true_boxes), 1)

    return sorted(readings, key=share)[:how_many]


def draw_worst(engines: BareEngines, readings: Sequence[Reading], folder: Path, how_many: int) -> list[Path]:
    """Overlays of the worst spreads that were not refused.

    They show images of a set whose licence was not verified, so they stay out of the repository.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pipeline = KaryotypePipeline(engines)
    written = []
    with ImageDecoder() as decoder:
        for reading in worst([each for each in readings if not each.refused], how_many):
            image = decoder.decode(reading.path.read_bytes())
            spread, _ = pipeline.analyze(image, RequestContext())
            target = folder / f"{reading.path.stem}.png"
            target.write_bytes(draw_overlay(image.grey, spread))
            written.append(target)
    return written
