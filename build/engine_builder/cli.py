"""The command line of the builder: each step on its own, and `build` for all of them."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import onnx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from appliance.errors import ApplianceError
from appliance.models.manifest import Precision
from appliance.models.pack import ModelPack
from engine_builder.builder import PARITY_SAMPLES, STEPS, Builder, refuse
from engine_builder.compare import Verdict, compare, write_report
from engine_builder.confidence import write_confidence
from engine_builder.errors import BuildFailed
from engine_builder.export import export_module
from engine_builder.lint import lint
from engine_builder.plot import plot_comparison
from engine_builder.quantize import CalibrationMethod, QuantizationSettings, quantize
from engine_builder.recipe import Workspace, find_callable, read_recipe
from engine_builder.release.cli import release
from engine_builder.yolo.command import pack_yolo_command
from engines.errors import EngineError

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
TARGET = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


def _place_options(command: F) -> F:
    data = click.option(
        "--data", type=FOLDER, required=True, envvar="APPLIANCE_DATA", help="Folder with the data sets."
    )
    work = click.option(
        "--work",
        type=FOLDER,
        default=Path("training"),
        show_default=True,
        help="Caches, checkpoints, exports.",
    )
    return data(work(command))


@click.group()
def cli() -> None:
    """Train, export, quantise, compare and pack models. Runs at central operations, never on a box."""


@cli.command()
@click.argument("recipe_path", metavar="RECIPE", type=FILE)
@click.option("--output", type=FOLDER, default=Path("engines/factory"), show_default=True)
@click.option(
    "--precision",
    type=click.Choice(["INT8", "FP32"]),
    help="Instead of the recipe's own; FP32 skips quantisation.",
)
@_place_options
def build(recipe_path: Path, output: Path, precision: str | None, data: Path, work: Path) -> None:
    """Run every step of RECIPE and leave a pack in OUTPUT."""
    recipe = read_recipe(recipe_path)
    if precision is not None:
        recipe = recipe.model_copy(update={"precision": Precision(precision)})
    console = Console()
    columns = (TextColumn("{task.description:<12}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(recipe.name, total=len(STEPS))

        def on_step(step: str, outcome: str) -> None:
            progress.update(task, description=step, completed=STEPS.index(step) + bool(outcome))
            if outcome:
                progress.console.print(f"[bold]{step:<10}[/bold] {outcome}", highlight=False)

        built = Builder(Workspace(data, work), output, on_step).build(recipe)
    _print_verdicts(console, built.verdicts)
    console.print(f"pack {built.pack.directory}, contract hash {built.pack.contract_hash}", highlight=False)
    if built.report is not None:
        console.print(f"report {built.report}, plot {built.plot}", highlight=False)


@cli.command()
@click.argument("recipe_path", metavar="RECIPE", type=FILE)
@click.argument("target", type=TARGET)
@_place_options
def export(recipe_path: Path, target: Path, data: Path, work: Path) -> None:
    """Export RECIPE's checkpoint to the ONNX file TARGET."""
    del data
    recipe = read_recipe(recipe_path)
    contract = recipe.resolved_contract()
    module = find_callable(recipe.network.build)(work / recipe.network.checkpoint)
    found = export_module(
        module, target, contract.inputs, contract.outputs, recipe.network.opset, recipe.network.exporter
    )
    for name, agreement in found.items():
        click.echo(f"{name}: cosine {agreement.cosine:.6f}, largest difference {agreement.max_abs:.3g}")


@cli.command(name="quantize")
@click.argument("source", type=FILE)
@click.argument("target", type=TARGET)
@click.option("--calibration", required=True, help="package.module:function that gives samples.")
@click.option("--samples", type=click.IntRange(1, 4096), default=64, show_default=True)
@click.option(
    "--method",
    type=click.Choice([method.value for method in CalibrationMethod]),
    default=CalibrationMethod.MINMAX.value,
    show_default=True,
)
@click.option("--percentile", type=click.FloatRange(50, 100), default=99.99, show_default=True)
@click.option("--exclude", multiple=True, help="Regular expression of node names that stay in float.")
@_place_options
def quantize_command(
    source: Path,
    target: Path,
    calibration: str,
    samples: int,
    method: str,
    percentile: float,
    exclude: tuple[str, ...],
    data: Path,
    work: Path,
) -> None:
    """Quantise the FP32 file SOURCE to the INT8 file TARGET."""
    stream = itertools.islice(find_callable(calibration)(Workspace(data, work)), samples)
    settings = QuantizationSettings(CalibrationMethod(method), percentile, exclude)
    summary = quantize(source, target, stream, settings)
    click.echo(
        f"{len(summary.quantized)} operators in int8, {len(summary.excluded)} excluded,"
        f" {len(summary.weightless)} without weights, {summary.samples} samples"
    )


@cli.command()
@click.argument("recipe_path", metavar="RECIPE", type=FILE)
@click.argument("pack_path", metavar="PACK", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_place_options
def confidence(recipe_path: Path, pack_path: Path, data: Path, work: Path) -> None:
    """Fit temperatures and thresholds of the finished PACK anew, as RECIPE says; the rest stays as it is."""
    recipe = read_recipe(recipe_path)
    pack = ModelPack.open(pack_path)
    fitted = Builder(Workspace(data, work), pack_path.parent).fit_confidence(recipe, pack.model_path)
    if fitted is None:
        raise BuildFailed(f"expected a [confidence] part in {recipe_path.name} and got none")
    write_confidence(pack, fitted)
    for name, value in fitted.model_dump().items():
        click.echo(f"{name}: {value:g}")


@cli.command(name="lint")
@click.argument("model", type=FILE)
@click.option(
    "--precision", type=click.Choice([each.value for each in Precision]), default="INT8", show_default=True
)
@click.option("--dynamic-batch", is_flag=True, help="Allow the first dimension to be dynamic.")
def lint_command(model: Path, precision: str, dynamic_batch: bool) -> None:
    """Say what in MODEL is not in the form that every box compiles."""
    refuse(model, lint(onnx.load(model), Precision(precision), dynamic_batch))
    click.echo(f"{model.name}: no findings")


@cli.command(name="compare")
@click.argument("recipe_path", metavar="RECIPE", type=FILE)
@click.argument("fp32", type=FILE)
@click.argument("int8", type=FILE)
@click.option("--report", type=TARGET, required=True, help="JSON file.")
@click.option("--plot", type=TARGET, help="PNG or SVG file.")
@_place_options
def compare_command(
    recipe_path: Path, fp32: Path, int8: Path, report: Path, plot: Path | None, data: Path, work: Path
) -> None:
    """Compare INT8 with FP32 on RECIPE's metric, and both with the unoptimised reference."""
    recipe = read_recipe(recipe_path)
    place = Workspace(data, work)
    metric = find_callable(recipe.metric.source)
    first = recipe.calibration.samples
    samples = itertools.islice(find_callable(recipe.calibration.source)(place), first, first + PARITY_SAMPLES)
    comparison = compare(fp32, int8, lambda infer: metric(place, infer), samples)
    verdicts = comparison.judge(recipe.acceptance)
    write_report(comparison, verdicts, report)
    if plot is not None:
        plot_comparison(comparison, f"{recipe.name} {recipe.version}", plot)
    _print_verdicts(Console(), verdicts)
    if not all(verdict.met for verdict in verdicts):
        raise BuildFailed("expected every acceptance threshold to be met and got the table above")


cli.add_command(release)


def _print_verdicts(console: Console, verdicts: tuple[Verdict, ...]) -> None:
    if not verdicts:
        return
    table = Table("figure", "limit", "measured", "n", "")
    for verdict in verdicts:
        limit = f"{verdict.bound.replace('_', ' ')} {verdict.limit:g}"
        table.add_row(
            verdict.metric, limit, f"{verdict.measured:.5g}", str(verdict.n), "" if verdict.met else "missed"
        )
    console.print(table)


cli.add_command(pack_yolo_command)


def main() -> None:
    """Entry point: a fault of the build is one sentence and exit status 1."""
    try:
        cli()
    except (BuildFailed, ApplianceError, EngineError) as exc:
        click.echo(f"engine_builder: {exc}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
