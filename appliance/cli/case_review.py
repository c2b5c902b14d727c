"""`appliance case spread` and `appliance case review`: a spread as it stands, and corrections of it."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from appliance.cli.analyze import REQUEST_S
from appliance.cli.case_edits import read_edits, read_edits_file
from appliance.cli.case_tables import print_review
from appliance.cli.connect import running_daemon, server_option
from appliance.cli.outputs import to_json, write_pictures
from appliance.client import CaseClient
from appliance.pb import analysis_pb2, review_pb2

ROLES = {
    "technologist": review_pb2.REVIEWER_ROLE_TECHNOLOGIST,
    "expert": review_pb2.REVIEWER_ROLE_EXPERT,
}
BOTH = analysis_pb2.RenderOptions(overlay=True, karyogram=True)
image_option = click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The image of the spread, to draw it anew; the box keeps none. Needs --output.",
)
output_option = click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder for the pictures."
)


@click.command()
@click.argument("case_id")
@click.argument("number", type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@image_option
@output_option
@server_option
def spread(
    case_id: str, number: int, as_json: bool, image: Path | None, output: Path | None, server: str | None
) -> None:
    """Spread NUMBER of a case as it stands: its objects with their numbers, and every review."""
    _check_pictures(image, output)
    request = review_pb2.GetReviewRequest(case_id=case_id, spread_number=number)
    if image is not None:
        request.encoded = image.read_bytes()
        request.render.CopyFrom(BOTH)
    with running_daemon(server) as client:
        _show(CaseClient(client).reviewed(request, REQUEST_S), as_json, output)


@click.command()
@click.argument("case_id")
@click.argument("number", type=click.IntRange(1))
@click.option("--reviewer", required=True, help="Your id in the laboratory, no name.")
@click.option(
    "--role",
    type=click.Choice(list(ROLES)),
    default="technologist",
    show_default=True,
    help="Experts approve.",
)
@click.option("--reclassify", multiple=True, metavar="OBJECT=CLASS", help="Another class.")
@click.option("--rotate", multiple=True, metavar="OBJECT=DEGREES", help="A counter-clockwise turn.")
@click.option("--flip", multiple=True, type=click.IntRange(0), metavar="OBJECT", help="Half a turn.")
@click.option("--join", multiple=True, metavar="OBJECT,OBJECT=CLASS", help="Several objects into one.")
@click.option("--delete", multiple=True, type=click.IntRange(0), metavar="OBJECT", help="No chromosome.")
@click.option(
    "--edits",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Further edits, a JSON list; the only way to split and to add, which need outlines.",
)
@click.option("--approve", is_flag=True, help="The spread is right, after the other edits.")
@click.option("--structural", multiple=True, help="With --approve: a structural change as ISCN writes it.")
@click.option("--undo", is_flag=True, help="Take back the newest set of edits in force.")
@click.option(
    "--revision",
    type=click.IntRange(0),
    help="The revision that you saw. Default: the newest, whoever made it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the spread as JSON.")
@image_option
@output_option
@server_option
def review(
    case_id: str,
    number: int,
    reviewer: str,
    role: str,
    reclassify: tuple[str, ...],
    rotate: tuple[str, ...],
    flip: tuple[int, ...],
    join: tuple[str, ...],
    delete: tuple[int, ...],
    edits: Path | None,
    approve: bool,
    structural: tuple[str, ...],
    undo: bool,
    revision: int | None,
    as_json: bool,
    image: Path | None,
    output: Path | None,
    server: str | None,
) -> None:
    """Correct spread NUMBER of a case, approve it, or take a correction back.

    All edits of one command are one set: done whole, or refused whole with the reason. Options but --flip and
    --delete take OBJECT=VALUE, and all of them may be given several times.
    """
    _check_pictures(image, output)
    if structural and not approve:
        raise click.UsageError("--structural needs --approve.")
    wanted = read_edits(reclassify, rotate, flip, join, delete)
    if edits is not None:
        wanted += read_edits_file(edits)
    if undo:
        wanted.append(review_pb2.Edit(undo=review_pb2.Undo()))
    if approve:
        wanted.append(review_pb2.Edit(approve=review_pb2.Approve(structural_changes=structural)))
    if not wanted:
        raise click.UsageError("Name at least one edit, --approve or --undo.")
    request = review_pb2.SubmitReviewRequest(
        case_id=case_id,
        spread_number=number,
        reviewer=review_pb2.Reviewer(role=ROLES[role], reviewer_id=reviewer),
        edits=wanted,
    )
    if image is not None:
        request.encoded = image.read_bytes()
        request.render.CopyFrom(BOTH)
    with running_daemon(server) as client:
        cases = CaseClient(client)
        if revision is None:
            seen = cases.reviewed(
                review_pb2.GetReviewRequest(case_id=case_id, spread_number=number), REQUEST_S
            )
            revision = seen.revision
        request.expected_revision = revision
        _show(cases.review(request, REQUEST_S), as_json, output)


def _check_pictures(image: Path | None, output: Path | None) -> None:
    if (image is None) != (output is None):
        raise click.UsageError("--image and --output belong together.")


def _show(found: review_pb2.Review, as_json: bool, output: Path | None) -> None:
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        write_pictures(found.renderings, output, f"spread-{found.spread_number}")
    found.ClearField("renderings")  # they are files of their own
    if as_json:
        click.echo(to_json(found))
    else:
        print_review(Console(), found)
