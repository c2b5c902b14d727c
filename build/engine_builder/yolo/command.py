"""`engine_builder pack-yolo`: one command from a user's export to a pack."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from appliance.chest_xray.settings import ChestXraySettings
from appliance.models.manifest import Precision
from engine_builder.yolo.labels import read_labels
from engine_builder.yolo.packing import YoloOptions, YoloPacked, pack_yolo

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


class LabelThreshold(click.ParamType[tuple[str, float]]):
    """`LABEL=SCORE`."""

    name = "label=score"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """Split at the last equals sign: a label may hold one."""
        label, equals, score = str(value).rpartition("=")
        try:
            return label.strip(), float(score) if equals else float("nan")
        except ValueError:
            return self.fail(f"expected LABEL=SCORE and got {value!r}", param, ctx)


@click.command(name="pack-yolo")
@click.argument("model", type=FILE)
@click.option("--name", required=True, help="Of the pack; small letters, digits and dashes.")
@click.option("--pack-version", "version", required=True, help="Three numbers, for example 1.0.0.")
@click.option("--labels", type=FILE, help="One label a line, in class order; else the export's own names.")
@click.option(
    "--default-threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=ChestXraySettings.default_threshold,
    show_default=True,
    help="Smallest score of a finding.",
)
@click.option(
    "--threshold", "thresholds", type=LabelThreshold(), multiple=True, help="LABEL=SCORE, for one label."
)
@click.option(
    "--precision",
    type=click.Choice([each.value for each in Precision]),
    help="Convert an FP32 export; else the export's own is kept.",
)
@click.option(
    "--films",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of films: INT8 is calibrated on most of them, conversions are judged on the others.",
)
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.9,
    show_default=True,
    help="Least share of findings that a converted model shares with the export.",
)
@click.option("--trained-on", multiple=True, required=True, help="What it learnt from; goes onto its card.")
@click.option("--limitations", required=True, help="What it must not be used for; goes onto its card.")
@click.option("--demonstration", is_flag=True, help="Mark every answer as that of a demonstration model.")
@click.option("--output", type=FOLDER, required=True, help="Folder that gets the pack's directory.")
def pack_yolo_command(
    model: Path,
    name: str,
    version: str,
    labels: Path | None,
    default_threshold: float,
    thresholds: tuple[tuple[str, float], ...],
    precision: str | None,
    films: Path | None,
    min_agreement: float,
    trained_on: tuple[str, ...],
    limitations: str,
    demonstration: bool,
    output: Path,
) -> None:
    """Pack MODEL, an ONNX file exported from a YOLO11 detector (raw head or with NMS inside)."""
    options = YoloOptions(
        name=name,
        version=version,
        training_data=trained_on,
        limitations=limitations,
        labels=read_labels(labels) if labels is not None else (),
        default_threshold=default_threshold,
        thresholds=thresholds,
        precision=Precision(precision) if precision else None,
        films=films,
        min_agreement=min_agreement,
        demonstration=demonstration,
    )
    _print(Console(), pack_yolo(model, options, output))


def _print(console: Console, packed: YoloPacked) -> None:
    manifest, graph = packed.pack.manifest, packed.graph
    table = Table("class", "label", "from score")
    for number, label in enumerate(manifest.labels.names):
        table.add_row(str(number), label, f"{manifest.thresholds[label]:g}")
    console.print(table)
    console.print(
        f"{graph.layout.value} layout, {graph.size}², {graph.precision.value}, grey levels divided by"
        f" {graph.divisor}",
        highlight=False,
    )
    if packed.agreement is not None:
        one = packed.agreement
        console.print(
            f"findings: {one.original} of the export, {one.converted} of the converted model, {one.shared}"
            f" the same ({one.share:.1%})",
            highlight=False,
        )
    for note in packed.notes:
        console.print(f"not every runtime may take it: {note}", highlight=False, markup=False)
    console.print(f"pack {packed.pack.directory}, contract hash {packed.pack.contract_hash}", highlight=False)
