"""The label list of a user's model: read strictly, and held against what the graph says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from engine_builder.errors import BuildFailed
from engine_builder.yolo.graph import YoloGraph


def read_labels(path: Path) -> tuple[str, ...]:
    """One label a line, in the order of the classes.

    Raises:
        BuildFailed: unreadable, an empty line between labels, or a label twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise BuildFailed(f"expected a list of labels in {path.name} and got: {exc}") from exc
    labels = tuple(line.strip() for line in lines)
    for number, label in enumerate(labels, start=1):
        if not label or not label.isprintable():
            raise BuildFailed(
                f"expected a label on line {number} of {path.name} and got none that is readable"
            )
    doubled = sorted(label for label, times in Counter(labels).items() if times > 1)
    if doubled:
        raise BuildFailed(f"expected each label once in {path.name} and got {', '.join(doubled)} more often")
    return labels


def settle_labels(given: tuple[str, ...], graph: YoloGraph) -> tuple[str, ...]:
    """The model's labels: the given ones, which the graph must not contradict, or else the graph's own.

    Raises:
        BuildFailed: neither has any, the numbers differ, or the order does.
    """
    labels = given or graph.names
    if not labels:
        raise BuildFailed("expected a list of labels, because the graph carries no names, and got none")
    if len(labels) != graph.classes:
        source = "the list" if given else "the graph's own metadata"
        raise BuildFailed(
            f"expected {graph.classes} labels, one for each class of the head, and got {len(labels)} in"
            f" {source}"
        )
    for number, (ours, theirs) in enumerate(zip(labels, graph.names or labels, strict=False)):
        if ours != theirs:
            raise BuildFailed(
                f"expected class {number} to be {theirs!r}, as the graph's own metadata says, and got"
                f" {ours!r}: the list is in another order, or of another model"
            )
    if graph.names and len(graph.names) != len(labels):
        raise BuildFailed(
            f"expected the {len(graph.names)} names of the graph's own metadata and got {len(labels)} labels"
        )
    return labels


def settle_thresholds(
    labels: tuple[str, ...], default: float, given: Iterable[tuple[str, float]]
) -> dict[str, float]:
    """Smallest score of every label.

    Raises:
        BuildFailed: a threshold for no label, or one outside of 0…1.
    """
    thresholds = dict.fromkeys(labels, default)
    for label, value in given:
        if label not in thresholds:
            raise BuildFailed(f"expected a threshold for one of {', '.join(labels)} and got {label!r}")
        thresholds[label] = value
    for label, value in thresholds.items():
        if not 0 < value < 1:
            raise BuildFailed(f"expected a threshold between 0 and 1 for {label} and got {value:g}")
    return thresholds
