"""`appliance results`: what the box has kept."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from appliance.cli.connect import running_daemon, server_option
from appliance.cli.outputs import to_json, write_atomically
from appliance.pb import analysis_pb2

MODALITIES = {
    "metaphase": analysis_pb2.MODALITY_METAPHASE,
    "chest-xray": analysis_pb2.MODALITY_CHEST_XRAY,
}
NAMES = {number: name for name, number in MODALITIES.items()}


@click.group()
def results() -> None:
    """List and fetch the results that the box keeps."""


@results.command("list")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 100_000), help="How many at most."
)
@click.option("--modality", type=click.Choice(list(MODALITIES)), help="Only results of this kind.")
@server_option
def list_results(limit: int, modality: str | None, server: str | None) -> None:
    """List results, newest first."""
    wanted = MODALITIES[modality] if modality else analysis_pb2.MODALITY_UNSPECIFIED
    table = Table(Column("result", no_wrap=True), "when (UTC)", "kind", "request", "found")
    with running_daemon(server) as client:
        for one in islice(client.results(wanted), limit):
            when = one.created.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")
            table.add_row(
                one.result_id,
                when,
                NAMES.get(one.modality, "?"),
                escape(one.request_id),
                escape(one.headline),
            )
    Console().print(table if table.row_count else "No results are kept yet.")


@results.command("get")
@click.argument("result_id")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="A file instead of the screen."
)
@server_option
def get_result(result_id: str, output: Path | None, server: str | None) -> None:
    """Print one result as JSON."""
    with running_daemon(server) as client:
        text = to_json(client.get_result(result_id))
    if output is None:
        click.echo(text)
    else:
        write_atomically(output, text.encode())
