"""Draws a comparison: the task's metric for both files side by side, and how closely the outputs agree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine_builder.compare import Comparison, Parity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FP32_COLOUR = "#8c8c8c"
INT8_COLOUR = "#1f6fb4"


def plot_comparison(comparison: Comparison, title: str, path: Path) -> None:
    """Write the picture.

    Args:
        comparison: what `compare` found.
        title: name and version of the model.
        path: ends in .png or .svg, which chooses the format.
    """
    from matplotlib.figure import Figure  # here, so that lint and quantisation do without matplotlib

    figure = Figure(
        figsize=(10, 4), layout="constrained"
    )  # no pyplot: it keeps global state and needs a display
    metrics, parities = figure.subplots(1, 2)
    _metrics(metrics, comparison)
    _parities(parities, comparison)
    figure.suptitle(f"{title}: INT8 against FP32")
    figure.savefig(path, dpi=150)


def _metrics(axes: Axes, comparison: Comparison) -> None:
    names = list(comparison.fp32.measurements)
    places = range(len(names))
    for offset, contender, colour in (
        (-0.2, comparison.fp32, FP32_COLOUR),
        (0.2, comparison.int8, INT8_COLOUR),
    ):
        values = [contender.measurements[name].value for name in names]
        bars = axes.bar(
            [place + offset for place in places],
            values,
            width=0.38,
            color=colour,
            label=f"{contender.precision} file on {contender.engine} in {contender.computed_in}",
        )
        axes.bar_label(bars, fmt="%.4g", fontsize=8)
    sizes = [comparison.int8.measurements[name].n for name in names]
    axes.set_xticks(
        list(places), [f"{name}\nn = {n}" for name, n in zip(names, sizes, strict=True)], fontsize=8
    )
    axes.margins(y=0.2)
    axes.set_title("the task's metric")
    axes.legend(fontsize=7, loc="lower center")


def _parities(axes: Axes, comparison: Comparison) -> None:
    rows: list[tuple[str, Parity, str]] = [
        *((f"{parity.output}: engine, file", parity, INT8_COLOUR) for parity in comparison.parity),
        *((f"{parity.output}: INT8, FP32", parity, FP32_COLOUR) for parity in comparison.quantization),
    ]
    # 1 - cosine on a logarithmic axis: 0.999 and 0.9999 are far apart in meaning and close on a linear one
    distances = [max(1.0 - parity.cosine_min, 1e-9) for _, parity, _ in rows]
    bars = axes.barh(range(len(rows)), distances, color=[colour for _, _, colour in rows])
    axes.bar_label(bars, [f"{parity.cosine_min:.5f}" for _, parity, _ in rows], fontsize=8, padding=3)
    axes.set_yticks(range(len(rows)), [label for label, _, _ in rows], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(1e-10, 3.0)
    axes.invert_yaxis()
    axes.set_title("1 - least cosine of the outputs")
