"""Accuracy of the karyotype cascade on real, unseen spreads, INT8 beside FP32: writes docs/accuracy.md.

Truth is the boxes and classes of a held-out split (CIL:54816); for orientation, of which it says nothing,
phantoms and real single chromosomes of slides that training never saw. Intervals resample whole cases,
because the cells of one case look alike.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from bench.bare import BareEngines
from bench.cascade import FACTORY_PACKS
from bench.karyotype_figures import Metric, spread_metrics, stand_metrics
from bench.karyotype_plots import (
    draw_worst,
    plot_abstention,
    plot_confusion,
    plot_learning,
    plot_reliability,
)
from bench.karyotype_report import rows, write_report
from bench.karyotype_run import Reading, read_phantoms, read_spreads, read_upright_slides
from bench.karyotype_truth import TrueSpread, read_split
from bench.report import commit, machine, publish
from engines import EngineOptions, QuantizedGraph

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "docs" / "accuracy.md"
WORST = 6


def main() -> None:
    """Command line of `make accuracy`."""
    words = _arguments().parse_args()
    spreads = read_split(words.data / "metaphases", words.spreads or None, words.split)
    fp32 = words.fp32 or (ROOT / "training" / "export" / "fp32")
    graphs = fp32 if fp32.is_dir() else None
    columns: dict[str, list[Metric]] = {}
    facts = [_origin(spreads, words.split), *_float(graphs)]
    plots: list[tuple[str, str]] = []
    words.report.parent.mkdir(parents=True, exist_ok=True)
    for name, graph, instead in (
        ("INT8", QuantizedGraph.BEST, None),
        ("FP32", QuantizedGraph.BEST if graphs else QuantizedGraph.FLOAT, graphs),
    ):
        with BareEngines(words.packs, EngineOptions(quantized_graph=graph), instead=instead) as engines:
            readings = read_spreads(engines, spreads, name)
            stands = read_phantoms(engines, words.phantoms, f"{name}, phantoms")
            slides = read_upright_slides(engines, words.data / "upright_chromosomes")
            facts.append(_what_ran(name, engines, readings))
            if name == "INT8":
                plots = _plots(readings, words.report, words.checkpoints)
                worst = draw_worst(engines, readings, words.worst, WORST)
                facts.append(
                    f"- Packs: {', '.join(engines.versions)}. A run leaves overlays of its {len(worst)} worst"
                    f" spreads in `{words.worst.name}/`; the images' licence was not verified, so they are"
                    " not kept here."
                )
        columns[name] = [*spread_metrics(readings), *stand_metrics(stands, slides)]
    facts.append(f"- Commit {commit()}, {machine()['processor']}, {machine()['cores']} cores.")
    write_report(columns, facts, plots, words.report)
    results = publish("accuracy", rows(columns), {}, words.results)
    print(f"\nwritten to {results} and {words.report}")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.accuracy", description=__doc__)
    default = os.environ.get("APPLIANCE_TEST_DATA") or ROOT.parent / "shared" / "data"
    add = parser.add_argument
    add("--data", type=Path, default=Path(default), help="folder that holds metaphases/SPLIT.json")
    add("--split", choices=("test", "val"), default="test", help="val while something is being chosen")
    add("--packs", type=Path, default=FACTORY_PACKS, help="folder with one pack per sub-folder")
    add("--spreads", type=int, default=0, help="how many spreads; 0 means all")
    add("--phantoms", type=int, default=24, help="how many phantom spreads for the orientation")
    add(
        "--fp32",
        type=Path,
        help="folder with ROLE.onnx files as they were before quantisation (default: training/export/fp32);"
        " where it is absent, FP32 means float arithmetic on the packs' own weights",
    )
    checkpoints = ROOT / "training" / "checkpoints"
    add("--checkpoints", type=Path, default=checkpoints, help="folder with the trainers' logs")
    add("--report", type=Path, default=REPORT, help="the page; its plots lie beside it in accuracy/")
    add("--results", type=Path, default=ROOT / "bench" / "results", help="folder of accuracy.json")
    add(
        "--worst",
        type=Path,
        default=ROOT / "training" / "worst",
        help="folder for overlays of the worst spreads",
    )
    return parser


def _origin(spreads: Sequence[TrueSpread], split: str) -> str:
    told = "no model was trained or chosen on them" if split == "test" else "thresholds were chosen on them"
    return (
        f"- {len(spreads)} spreads of {len({s.case for s in spreads})} cases with"
        f" {sum(len(s.labels) for s in spreads)} marked chromosomes, of the split {split}.json of CIL:54816"
        f" (doi 10.7295/W9CIL54816); {told}."
    )


def _float(graphs: Path | None) -> list[str]:
    if graphs is not None:
        return ["- FP32 is the graph as it was exported, before quantisation."]
    return ["- FP32 is float arithmetic on the packs' own, quantised weights."]


def _what_ran(name: str, engines: BareEngines, readings: Sequence[Reading]) -> str:
    ran = "; ".join(f"{role} on {precision}" for role, precision in engines.precisions.items())
    refused = sum(each.refused for each in readings)
    return f"- {name}: {ran}. {refused} spreads were taken for images without one and count as nothing found."


def _plots(readings: Sequence[Reading], report: Path, checkpoints: Path) -> list[tuple[str, str]]:
    folder = report.parent / "accuracy"
    folder.mkdir(exist_ok=True)
    plot_reliability(readings, folder / "reliability.svg")
    plot_abstention(readings, folder / "abstention.svg")
    plot_confusion(readings, folder / "confusion.svg")
    plots = [
        ("Reliability", "accuracy/reliability.svg"),
        ("Abstention", "accuracy/abstention.svg"),
        ("Confusion", "accuracy/confusion.svg"),
    ]
    if plot_learning(checkpoints, folder / "learning.svg"):
        plots.append(("Learning curves", "accuracy/learning.svg"))
    return plots


if __name__ == "__main__":
    main()
