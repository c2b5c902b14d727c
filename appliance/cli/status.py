"""`appliance status` and `appliance self-test`: is the box well, and if not, why."""

from __future__ import annotations

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from appliance.cli.connect import running_daemon, server_option
from appliance.pb import appliance_pb2

SELF_TEST_S = 300.0
MIB = 1 << 20
STATES = {
    appliance_pb2.MODEL_STATE_READY: "[green]ready[/]",
    appliance_pb2.MODEL_STATE_LOADING: "[yellow]loading[/]",
    appliance_pb2.MODEL_STATE_UNAVAILABLE: "[red]not available[/]",
    appliance_pb2.MODEL_STATE_UNLOADING: "[yellow]unloading[/]",
}


@click.command()
@server_option
def status(server: str | None) -> None:
    """Is the box well, and what runs on it? Exit status 1 if something is wrong."""
    console = Console()
    with running_daemon(server) as client:
        answer = client.status()
        console.print(f"appliance {answer.version} at {client.address}", highlight=False)
        console.print(models_table(answer))
        for engine in answer.engines:
            mark = "[green]usable[/]" if engine.usable else "[dim]not used[/]"
            console.print(f"{engine.kind}: {mark} – {escape(engine.detail)}", highlight=False)
        storage = answer.storage
        console.print(
            f"results: {storage.results},"
            f" {storage.size_bytes / MIB:.1f} of {storage.limit_bytes / MIB:.0f} MiB",
            highlight=False,
        )
        if answer.starting:
            console.print("[yellow]The models are still being loaded.[/]")
        for problem in answer.problems:
            console.print(f"[red]Problem:[/] {escape(problem)}", highlight=False)
    if not answer.ready:
        raise SystemExit(1)
    console.print("[green]All is well.[/]" if not answer.problems else "It works, but see above.")


@click.command("self-test")
@server_option
def self_test(server: str | None) -> None:
    """Run every model on its known answers and write to the storage. Exit status 1 if a check fails."""
    console = Console()
    with running_daemon(server) as client, console.status("The box tests itself"):
        answer = client.self_test(SELF_TEST_S)
    table = Table("check", "", "what was seen", "ms")
    for check in answer.checks:
        mark = "[green]passed[/]" if check.passed else "[red]failed[/]"
        table.add_row(check.name, mark, escape(check.detail), f"{check.time_ms:.0f}")
    console.print(table)
    if not answer.passed:
        raise SystemExit(1)


def models_table(answer: appliance_pb2.GetStatusResponse) -> Table:
    """One row for each role."""
    table = Table(Column("what for", no_wrap=True), "model", "state", "engine", "precision", "served")
    for model in answer.models:
        table.add_row(
            model.role,
            f"{model.name} {model.version}".strip() or "–",
            STATES.get(model.state, "unknown"),
            model.engine or "–",
            model.precision or "–",
            f"{model.answered}, {model.queued} wait" if model.queued else str(model.answered),
        )
    return table
