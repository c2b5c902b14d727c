"""`appliance models`: install releases, see what serves, go back, and read what happened."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Column, Table

from appliance.bundles.durable import DurableFiles
from appliance.cli.connect import running_daemon, server_option
from appliance.cli.outputs import write_atomically
from appliance.client.models import ModelsClient
from appliance.config import load_config
from appliance.errors import ApplianceError
from appliance.models.manifest import Role
from appliance.pb import appliance_pb2
from appliance.updates.assembly import FOLDER
from appliance.updates.evidence import DeviceKey
from appliance.updates.exam_room import ExamRoom

MARKS = {True: "[green]passed[/]", False: "[red]failed[/]"}
by_option = click.option(
    "--by", default=getpass.getuser, metavar="NAME", help="Who asks, for the history. Default: the user."
)


@click.group()
def models() -> None:
    """Install model releases, see what serves, go back."""


@models.command("list")
@server_option
def list_models(server: str | None) -> None:
    """What serves each role, what served before, and the last install."""
    table = Table(Column("what for", no_wrap=True), "serves", "confirmed", "before", "last install")
    with running_daemon(server) as client:
        loaded = {model.role: f"{model.name} {model.version}".strip() for model in client.status().models}
        for model in ModelsClient(client).installed().models:
            install = model.install
            last = f"{install.name} {install.version}: {install.state}" if install.state else "–"
            origin = "release" if model.current else "factory pack"
            table.add_row(
                model.role,
                f"{loaded.get(model.role) or '–'} ({origin})",
                "yes" if model.confirmed else "[yellow]not yet[/]",
                model.previous or ("factory pack" if model.current else "–"),
                escape(last + (f" ({install.detail})" if install.detail else "")),
            )
    Console().print(table)


@models.command()
@click.argument("path")
@click.option(
    "--release", default="", metavar="NAME-VERSION", help="Only this one. Default: the newest of each role."
)
@click.option("--role", default="", help="Only for this role.")
@click.option("--hold", is_flag=True, help="Stop after the gate; `appliance models activate` goes on.")
@click.option("--shadow", is_flag=True, help="Let it see live requests before it may answer any.")
@click.option("--scheduled", is_flag=True, help="Take only what the rollout gives this box.")
@by_option
@server_option
def install(
    path: str, release: str, role: str, hold: bool, shadow: bool, scheduled: bool, by: str, server: str | None
) -> None:
    """Install what PATH offers: a release directory (USB stick) or an https address. Ctrl-C leaves it
    running.
    """
    source = path if path.startswith("https://") else str(Path(path).absolute())
    request = appliance_pb2.InstallModelsRequest(
        source=source,
        requested_by=by,
        release=release,
        role=role,
        hold=hold,
        shadow=shadow,
        scheduled=scheduled,
    )
    console = Console()
    with running_daemon(server) as client:
        outcome = _follow(ModelsClient(client).install(request), console)
    if not outcome.installs:
        console.print("Nothing newer for this box.")
    for one in outcome.installs:
        console.print(
            f"{one.role}: {one.name} {one.version} is {one.state}. {one.detail}"
            + (f" Evidence {one.evidence_id}." if one.evidence_id else ""),
            highlight=False,
        )


@models.command()
@server_option
def cancel(server: str | None) -> None:
    """Stop the install under way."""
    with running_daemon(server) as client:
        click.echo("It is being stopped." if ModelsClient(client).cancel() else "No install is under way.")


@models.command()
@click.argument("role")
@by_option
@server_option
def activate(role: str, by: str, server: str | None) -> None:
    """Let the release of ROLE that passed the gate take over."""
    with running_daemon(server) as client:
        one = ModelsClient(client).activate(role, by)
    click.echo(f"{one.role}: {one.name} {one.version} is {one.state}.")


@models.command()
@click.argument("role")
@by_option
@server_option
def rollback(role: str, by: str, server: str | None) -> None:
    """Let the model of ROLE that served before serve again; needs no network."""
    with running_daemon(server) as client:
        model = ModelsClient(client).roll_back(role, by)
    click.echo(f"{model.role}: {model.current or 'the factory pack'} serves.")


@models.command()
@server_option
def verify(server: str | None) -> None:
    """Read back every stored bundle and record. Exit status 1 if one is damaged."""
    table = Table("what", "", "what was seen")
    with running_daemon(server) as client:
        answer = ModelsClient(client).verify()
    for check in answer.checks:
        table.add_row(check.name, MARKS[check.passed], escape(check.detail))
    Console().print(table)
    if not answer.passed:
        raise SystemExit(1)


@models.command()
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="How many at most."
)
@server_option
def history(limit: int, server: str | None) -> None:
    """Which model, which engine, when, who approved, which evidence; newest first."""
    table = Table(
        Column("when (UTC)", no_wrap=True),
        "what for",
        "model",
        "what",
        "engine",
        "asked by",
        "signed by",
        "evidence",
    )
    with running_daemon(server) as client:
        events = ModelsClient(client).history(limit).events
    for event in events:
        table.add_row(
            event.at.ToDatetime().strftime("%Y-%m-%d %H:%M:%S"),
            event.role,
            f"{event.name} {event.version}",
            escape(f"{event.what}: {event.detail}" if event.detail else event.what),
            escape(event.engine),
            escape(event.requested_by),
            escape(", ".join(event.approved_by)),
            event.evidence_id,
        )
    Console().print(table if table.row_count else "Nothing has happened yet.")


@models.command()
@click.argument("evidence_id")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="A file instead of the screen."
)
@server_option
def evidence(evidence_id: str, output: Path | None, server: str | None) -> None:
    """Print the signed report of the gate with the id EVIDENCE_ID."""
    with running_daemon(server) as client:
        text = ModelsClient(client).evidence(evidence_id)
    if output is None:
        click.echo(text)
    else:
        write_atomically(output, text.encode())


@models.command()
@click.argument("role", type=click.Choice([role.value for role in Role]))
@click.option("--state-dir", type=click.Path(path_type=Path, file_okay=False), help="As for `serve`.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="As for `serve`.")
def seal(role: str, state_dir: Path | None, config: Path | None) -> None:
    """Seal the laboratory's own exam of ROLE as it lies on the box; from then on the gate holds it too."""
    try:
        root = load_config(config, state_dir=state_dir).state_directory / FOLDER
        files = DurableFiles()
        sha256 = ExamRoom(root, DeviceKey(root, files), files).seal(Role(role))
    except ApplianceError as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(f"sealed, sha256 {sha256}")


def _follow(
    events: Iterator[appliance_pb2.InstallModelsResponse], console: Console
) -> appliance_pb2.InstallOutcome:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("looking", total=None)
        told = ""
        for event in events:
            if event.WhichOneof("event") == "outcome":
                return event.outcome
            step = event.step
            title = f"{step.title}: {step.state}"
            progress.update(
                task, description=title, completed=step.done_bytes, total=step.total_bytes or None
            )
            if title != told:
                told = title
                progress.console.print(f"{title} {step.detail}".rstrip(), highlight=False)
    return appliance_pb2.InstallOutcome()
