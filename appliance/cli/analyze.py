"""`appliance analyze`: files and folders in, results and pictures out; a bad file never stops the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from appliance.analysis import Modality
from appliance.cli.connect import any_daemon, server_option
from appliance.cli.inputs import find_inputs, is_dicom, modality_of
from appliance.cli.outputs import Reply, output_names, write_outputs
from appliance.client import ApplianceClient, CallError
from appliance.pb import analysis_pb2, chest_xray_pb2, karyotype_pb2

REQUEST_S = 120.0


@dataclass(frozen=True)
class Failure:
    """An input without a result."""

    path: Path
    reason: str


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the results.",
)
@click.option(
    "--modality",
    type=click.Choice([modality.value for modality in Modality]),
    help="What the images show. Needed unless they are DICOM files that say so themselves.",
)
@click.option(
    "--pixel-size-um", type=click.FloatRange(0, min_open=True), help="Micrometres per pixel, if known."
)
@click.option(
    "--dicom-sr",
    is_flag=True,
    help="Write NAME.sr.dcm as well, a DICOM structured report, for each film that is a DICOM file.",
)
@click.option(
    "--dicom-sc",
    is_flag=True,
    help="Write NAME.sc.dcm as well, the drawn film as DICOM, for each film that is a DICOM file.",
)
@click.option(
    "--karyogram-format",
    "karyogram_formats",
    type=click.Choice(["png", "svg", "pdf"]),
    multiple=True,
    default=("png",),
    show_default=True,
    help="Kind of file for karyograms; may be given several times.",
)
@server_option
def analyze(
    paths: tuple[Path, ...],
    output: Path,
    modality: str | None,
    pixel_size_um: float | None,
    dicom_sr: bool,
    dicom_sc: bool,
    karyogram_formats: tuple[str, ...],
    server: str | None,
) -> None:
    """Analyse images and write for each NAME.json, NAME.overlay.png and, for a spread, the karyogram
    (NAME.karyogram.png, or .svg, or .pdf).

    PATHS are files or folders (with all below them). A running daemon does the work; where there is none,
    one is started for the occasion. Exit status 1 if a file could not be analysed; the others are done all
    the same.
    """
    console = Console(stderr=True)
    inputs = find_inputs(paths)
    output.mkdir(parents=True, exist_ok=True)
    chosen = Modality(modality) if modality else None
    with any_daemon(server) as client:
        dicom_files = tuple(kind for kind, wanted in (("sr", dicom_sr), ("sc", dicom_sc)) if wanted)
        failures = list(
            _analyze_all(
                client, inputs, output, chosen, pixel_size_um, dicom_files, karyogram_formats, console
            )
        )
    done = len(inputs) - len(failures)
    console.print(
        f"{done} of {len(inputs)} analysed; the results are in {escape(str(output))}", highlight=False
    )
    if failures:
        table = Table(Column("file", overflow="fold"), "why there is no result", title="Not analysed")
        for failure in failures:
            table.add_row(escape(shown(failure.path)), escape(failure.reason))
        console.print(table)
        raise SystemExit(1)


def _analyze_all(
    client: ApplianceClient,
    inputs: Sequence[Path],
    output: Path,
    chosen: Modality | None,
    pixel_size_um: float | None,
    dicom_files: Sequence[str],
    karyogram_formats: Sequence[str],
    console: Console,
) -> Iterator[Failure]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("analysing", total=len(inputs))
        for path, name in zip(inputs, output_names(inputs), strict=True):
            progress.update(task, description=escape(path.name[:40]))
            try:
                data = path.read_bytes()
                kind = modality_of(data, chosen)
                film = kind is Modality.CHEST_XRAY and is_dicom(data)
                files = dicom_files if film else ()
                reply = analyze_bytes(client, data, kind, name, pixel_size_um, files, karyogram_formats)
                write_outputs(reply, output, name)
                for missing in dicom_files[len(files) :]:
                    progress.console.print(
                        f"{escape(shown(path))} is no DICOM film: no {escape(name)}.{missing}.dcm for it",
                        highlight=False,
                    )
            except CallError as exc:
                yield Failure(path, str(exc))
            except click.ClickException as exc:
                yield Failure(path, exc.message)
            except OSError as exc:
                yield Failure(path, f"cannot read it or write its results: {exc.strerror}")
            progress.advance(task)


def analyze_bytes(
    client: ApplianceClient,
    data: bytes,
    modality: Modality,
    request_id: str,
    pixel_size_um: float | None = None,
    dicom_files: Sequence[str] = (),
    karyogram_formats: Sequence[str] = ("png",),
) -> Reply:
    """Send one encoded image and ask for every picture; CallError with the daemon's reason.

    A film may also be asked for `dicom_files`: "sr", the structured report, and "sc", the secondary capture.
    """
    if modality is Modality.METAPHASE:
        return client.analyze_metaphase(
            karyotype_pb2.AnalyzeMetaphaseRequest(
                encoded=data,
                pixel_size_um=pixel_size_um,
                request_id=request_id_of(request_id),
                render=analysis_pb2.RenderOptions(
                    overlay=True,
                    karyogram_formats=[
                        analysis_pb2.PageFormat.Value(f"PAGE_FORMAT_{each.upper()}")
                        for each in karyogram_formats
                    ],
                ),
            ),
            REQUEST_S,
        )
    return client.analyze_chest_film(
        chest_xray_pb2.AnalyzeChestXrayRequest(
            encoded=data,
            pixel_size_um=pixel_size_um,
            request_id=request_id_of(request_id),
            render=analysis_pb2.RenderOptions(
                overlay=True, structured_report="sr" in dicom_files, secondary_capture="sc" in dicom_files
            ),
        ),
        REQUEST_S,
    )


def shown(path: Path) -> str:
    """The path as short as it can be told from here."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def request_id_of(name: str) -> str:
    """A file's name as the caller's own id of a request: printable and not too long."""
    return "".join(letter for letter in name if letter.isprintable())[:128]
