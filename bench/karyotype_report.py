"""Writes docs/accuracy.md from the figures, and the rows of bench/results/accuracy.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from appliance import RESEARCH_USE_ONLY
from bench.karyotype_figures import Metric
from bench.report import Row, Target
from engine_builder.metrics import Interval

INT8_DROP = 0.005
"""Most that INT8 may lose against FP32, as a share."""


def write_report(
    columns: Mapping[str, Sequence[Metric]],
    facts: Sequence[str],
    plots: Sequence[tuple[str, str]],
    path: Path,
) -> None:
    """Write the page: one row a figure, one column an arithmetic.

    Args:
        columns: figures by arithmetic, the same in each.
        facts: lines of Markdown.
        plots: title and path relative to the page.
        path: of the page.
    """
    names = list(columns)
    lines = [
        "# Accuracy",
        "",
        f"Written by `make accuracy`; {RESEARCH_USE_ONLY}.",
        "",
        "| | " + " | ".join(names) + " | n | target | what it is |",
        "|---|" + "---|" * (len(names) + 3),
    ]
    for name, row in _rows(columns).items():
        first = next(iter(row.values()))
        cells = [_cell(row[arithmetic].interval) if arithmetic in row else "" for arithmetic in names]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {first.interval.n} | {_target(first)} | {first.meaning} |"
        )
    lines += ["", "In brackets 95 % intervals, bootstrapped over cases (phantoms, slides).", "", *facts]
    for title, file in plots:
        lines += ["", f"## {title}", "", f"![{title}]({file})"]
    path.write_text("\n".join(lines) + "\n")


def rows(columns: Mapping[str, Sequence[Metric]]) -> list[Row]:
    """The same for `publish`, with what INT8 loses against FP32 where both were measured."""
    made = [
        _row(f"{m.name} {name}", m.interval, m.target) for name, column in columns.items() for m in column
    ]
    for name, row in _rows(columns).items():
        if {"INT8", "FP32"} <= row.keys() and row["INT8"].target is not None:
            drop = row["FP32"].interval.value - row["INT8"].interval.value
            made.append(
                Row(f"{name}, lost by INT8", drop, "", row["INT8"].interval.n, drop, drop, Target(INT8_DROP))
            )
    return made


def _rows(columns: Mapping[str, Sequence[Metric]]) -> dict[str, dict[str, Metric]]:
    """Figures by name, then by arithmetic; a figure that one arithmetic lacks leaves a gap there."""
    table: dict[str, dict[str, Metric]] = {}
    for arithmetic, column in columns.items():
        for metric in column:
            table.setdefault(metric.name, {})[arithmetic] = metric
    return table


def _row(name: str, values: Interval, target: Target | None) -> Row:
    return Row(name, values.value, "", values.n, values.low, values.high, target)


def _cell(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def _target(metric: Metric) -> str:
    if metric.target is None:
        return ""
    met = "met" if metric.target.met(metric.interval.value) else "missed"
    return f"{'at most' if metric.target.at_most else 'at least'} {100 * metric.target.limit:g} %: {met}"
