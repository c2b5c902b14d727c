"""`appliance case`: many spreads as one case, from opening it to closing it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from appliance.cli.analyze import REQUEST_S, Failure, request_id_of, shown
from appliance.cli.case_review import review, spread
from appliance.cli.case_tables import cases_table, print_case, print_summary
from appliance.cli.connect import running_daemon, server_option
from appliance.cli.inputs import find_inputs
from appliance.cli.outputs import output_names, to_json, write_pictures
from appliance.client import CallError, CaseClient
from appliance.pb import analysis_pb2, case_pb2


@click.group()
def case() -> None:
    """Keep many spreads as one case: what they say together, and the expert's reviews."""


case.add_command(spread)
case.add_command(review)


@case.command("open")
@click.argument("reference", default="")
@click.option(
    "--neoplastic", is_flag=True, help="A tumour or leukaemia; otherwise the person's own karyotype."
)
@click.option(
    "--exclude-share",
    type=click.FloatRange(0.01, 0.5),
    help="Share of a second line of cells that the case is to exclude, for example 0.1.",
)
@server_option
def open_case(reference: str, neoplastic: bool, exclude_share: float | None, server: str | None) -> None:
    """Begin a case and print its id. REFERENCE is your own, without patient data."""
    kind = case_pb2.CASE_KIND_NEOPLASTIC if neoplastic else case_pb2.CASE_KIND_CONSTITUTIONAL
    with running_daemon(server) as client:
        request = case_pb2.OpenCaseRequest(reference=reference, kind=kind, exclude_share=exclude_share)
        click.echo(CaseClient(client).open(request).line.case_id)


@case.command()
@click.argument("case_id")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--result", "results", multiple=True, help="A kept result to link; may be given several times.")
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder for karyograms and overlays."
)
@click.option(
    "--pixel-size-um", type=click.FloatRange(0, min_open=True), help="Micrometres per pixel, if known."
)
@server_option
def add(
    case_id: str,
    paths: tuple[Path, ...],
    results: tuple[str, ...],
    output: Path | None,
    pixel_size_um: float | None,
    server: str | None,
) -> None:
    """Add spreads: images to analyse (files and folders), or results that are kept already.

    Exit status 1 if one could not be added; the others are added all the same.
    """
    if not paths and not results:
        raise click.UsageError("Name at least one image, folder or --result.")
    console = Console(stderr=True)
    inputs = find_inputs(paths)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    requests = [
        *_of_images(inputs, case_id, output is not None, pixel_size_um),
        *_of_results(results, case_id),
    ]
    with running_daemon(server) as client:
        cases = CaseClient(client)
        failures = list(_add_all(cases, requests, output, console))
        print_summary(Console(), cases.get(case_id).summary)
    if failures:
        table = Table(Column("spread", overflow="fold"), "why it is not in the case", title="Not added")
        for failure in failures:
            table.add_row(escape(shown(failure.path)), escape(failure.reason))
        console.print(table)
        raise SystemExit(1)


@case.command()
@click.argument("case_id")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@server_option
def show(case_id: str, as_json: bool, server: str | None) -> None:
    """A case with its spreads, what they say together, and what is missing."""
    with running_daemon(server) as client:
        found = CaseClient(client).get(case_id)
    if as_json:
        click.echo(to_json(found))
    else:
        print_case(Console(), found)


@case.command("list")
@click.option("--open", "only_open", is_flag=True, help="Only cases that are open.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 100_000), help="How many at most."
)
@server_option
def list_cases(only_open: bool, limit: int, server: str | None) -> None:
    """List cases, newest first."""
    with running_daemon(server) as client:
        table = cases_table(islice(CaseClient(client).all(only_open), limit))
    Console().print(table if table.row_count else "No cases are kept yet.")


@case.command()
@click.argument("case_id")
@server_option
def close(case_id: str, server: str | None) -> None:
    """End a case: nothing can be added or reviewed any more."""
    with running_daemon(server) as client:
        print_case(Console(), CaseClient(client).close(case_id))


@case.command()
@server_option
def accuracy(server: str | None) -> None:
    """How often approved spreads had to be corrected, over the kept cases."""
    with running_daemon(server) as client:
        found = CaseClient(client).field_accuracy()
    console = Console()
    if not found.spreads:
        console.print("No spread is approved yet.")
        return
    share = found.untouched / found.machine_objects * 100 if found.machine_objects else 0.0
    console.print(
        f"{found.spreads} approved spreads, {found.touches_per_spread:.1f} corrections each;"
        f" {found.untouched} of {found.machine_objects} objects ({share:.1f} %) needed none",
        highlight=False,
    )
    for one in found.edits:
        console.print(f"  {one.kind}: {one.edits}", highlight=False)


Named = tuple[Path, str, case_pb2.AddSpreadRequest]


def _of_images(
    inputs: Sequence[Path], case_id: str, pictures: bool, pixel_size_um: float | None
) -> Iterator[Named]:
    render = analysis_pb2.RenderOptions(overlay=pictures, karyogram=pictures)
    for path, name in zip(inputs, output_names(inputs), strict=True):
        request = case_pb2.AddSpreadRequest(
            case_id=case_id, request_id=request_id_of(name), render=render, pixel_size_um=pixel_size_um
        )
        yield path, name, request


def _of_results(results: Sequence[str], case_id: str) -> Iterator[Named]:
    for result_id in results:
        yield Path(result_id), result_id, case_pb2.AddSpreadRequest(case_id=case_id, result_id=result_id)


def _add_all(
    cases: CaseClient, requests: Sequence[Named], output: Path | None, console: Console
) -> Iterator[Failure]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("adding", total=len(requests))
        for path, name, request in requests:
            progress.update(task, description=escape(path.name[:40]))
            try:
                if not request.result_id:
                    request.encoded = path.read_bytes()
                reply = cases.add(request, REQUEST_S)
                if output is not None:
                    write_pictures(reply.renderings, output, name)
                progress.console.print(
                    f"{reply.spread.number:>4}  {escape(name)}: {reply.spread.count} chromosomes,"
                    f" {escape(reply.spread.iscn or reply.spread.iscn_withheld_reason)}",
                    highlight=False,
                )
            except CallError as exc:
                yield Failure(path, str(exc))
            except OSError as exc:
                yield Failure(path, f"cannot read it or write its pictures: {exc.strerror}")
            request.ClearField("encoded")  # one image at a time in memory
            progress.advance(task)
