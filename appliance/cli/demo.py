"""`appliance demo`: one phantom spread and one phantom film through a real daemon, and what to do next."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from appliance import RESEARCH_USE_ONLY
from appliance.analysis import Modality
from appliance.cli.analyze import analyze_bytes
from appliance.cli.connect import failures_in_words, private_daemon
from appliance.cli.outputs import Reply, write_atomically, write_outputs
from appliance.imaging import encode_png
from appliance.pb import karyotype_pb2
from appliance.phantoms.demo import demo_chest_film, demo_metaphase


@click.command()
@click.option(
    "--output",
    default=Path("demo"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for pictures and JSON.",
)
def demo(output: Path) -> None:
    """Analyse one made-up spread and one made-up chest film, and leave the results in a folder."""
    console = Console()
    output.mkdir(parents=True, exist_ok=True)
    with console.status("Drawing a metaphase spread and a chest film"):
        images = {
            "metaphase": (Modality.METAPHASE, encode_png(demo_metaphase().image)),
            "chest-xray": (Modality.CHEST_XRAY, encode_png(demo_chest_film().image)),
        }
    files = []
    with ExitStack() as resources, failures_in_words():
        client = private_daemon(resources)
        for name, (modality, data) in images.items():
            write_atomically(output / f"{name}.png", data)
            reply = analyze_bytes(client, data, modality, f"demo-{name}")
            files += [output / f"{name}.png", *write_outputs(reply, output, name)]
            console.print(stage_table(name, reply))
            console.print(_found(reply), highlight=False)
    console.print(f"\nWritten to {escape(str(output))}/:", highlight=False)
    for file in files:
        console.print(f"  {escape(file.name)}", highlight=False)
    console.print(
        "\nStart the daemon for good:    [bold]appliance serve[/]"
        "\nAnalyse your own spreads:     [bold]appliance analyze PATH… --modality metaphase --output DIR[/]"
        "\nAnalyse your own films:       [bold]appliance analyze PATH… --modality chest-xray --output DIR[/]"
        "\n(`appliance` is .venv/bin/appliance here, unless the environment is active.)"
        f"\n\nEverything that a model outputs is for {RESEARCH_USE_ONLY}.",
        highlight=False,
    )


def stage_table(name: str, reply: Reply) -> Table:
    """The stages of one request, with their sum."""
    table = Table("stage", "model", "engine", "precision", "ms", "of which engine", title=name)
    for column in table.columns[4:]:
        column.justify = "right"
    for stage in reply.stages:
        table.add_row(
            stage.stage,
            f"{stage.model_name} {stage.model_version}".strip(),
            f"{stage.engine} {escape(stage.device)}".strip(),
            stage.precision,
            f"{stage.time_ms:.1f}",
            f"{stage.engine_ms:.1f}" if stage.calls else "",
        )
    table.add_section()
    table.add_row(
        "all",
        "",
        "",
        "",
        f"{sum(stage.time_ms for stage in reply.stages):.1f}",
        f"{sum(stage.engine_ms for stage in reply.stages):.1f}",
    )
    return table


def _found(reply: Reply) -> str:
    if isinstance(reply, karyotype_pb2.AnalyzeMetaphaseResponse):
        spread = reply.spread
        karyotype = spread.iscn or f"no ISCN string: {spread.iscn_withheld_reason}"
        return f"{spread.count} chromosomes, {escape(karyotype)}"
    findings = [f"{one.label} {one.confidence:.2f}" for one in reply.film.findings]
    return ", ".join(findings) or "no finding above the threshold"
