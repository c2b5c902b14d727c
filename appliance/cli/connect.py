"""Finds the daemon that a command talks to: the one named, one that runs, or a new one for the occasion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from appliance.client import ApplianceClient, CallError, LocalDaemon
from appliance.client.credentials import read_token
from appliance.config import Config
from appliance.errors import ApplianceError

NOTICE = Console(stderr=True)
LOOK_S = 1.0
TOKEN_FILE = "appliance.token_file"


def _keep_token_file(context: click.Context, _option: click.Parameter, path: Path | None) -> None:
    context.meta[TOKEN_FILE] = path


def server_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which daemon a command talks to, and as whom."""
    server = click.option(
        "--server",
        metavar="ADDRESS",
        help="The daemon to talk to: HOST:PORT or unix:/PATH. Default: one on this box.",
    )
    token_file = click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        expose_value=False,
        callback=_keep_token_file,
        help="A file with your token, where the daemon wants one.",
    )
    return server(token_file(command))


@contextmanager
def running_daemon(server: str | None) -> Iterator[ApplianceClient]:
    """A client of the daemon named, or of the one on this box; ClickException if there is none."""
    with ExitStack() as resources:
        client = _find(server, resources)
        if client is None:
            raise click.ClickException(
                f"No daemon answers at {server or 'the usual places of this box'}."
                " Start one with: appliance serve"
            )
        with failures_in_words():
            yield client


@contextmanager
def any_daemon(server: str | None) -> Iterator[ApplianceClient]:
    """As `running_daemon`, but where none runs and none was named, a new one until the command ends."""
    with ExitStack() as resources:
        client = _find(server, resources)
        if client is None and server is not None:
            raise click.ClickException(f"No daemon answers at {server}.")
        with failures_in_words():
            yield client or private_daemon(resources)


def private_daemon(resources: ExitStack) -> ApplianceClient:
    """A new daemon that is stopped with `resources`; waits until its models are loaded."""
    daemon = resources.enter_context(LocalDaemon())
    client = resources.enter_context(ApplianceClient(daemon.address))
    message = (
        "Starting a daemon for the occasion (the first time on a box its engines are built: a minute or two)"
    )
    with NOTICE.status(message):
        status = daemon.wait_until_started(client)
    for problem in status.problems:
        NOTICE.print(f"[yellow]Note:[/] {problem}", highlight=False)
    return client


@contextmanager
def failures_in_words() -> Iterator[None]:
    """Errors of ours become one sentence and exit status 1."""
    try:
        yield
    except ApplianceError as exc:
        raise click.ClickException(str(exc)) from exc


def given_token() -> str | None:
    """The token in the file that --token-file names."""
    path = click.get_current_context().meta.get(TOKEN_FILE)
    return read_token(path) if path is not None else None


def _find(server: str | None, resources: ExitStack) -> ApplianceClient | None:
    config = Config()
    with failures_in_words():
        token = given_token()
    for address in [server] if server else [f"unix:{config.socket_path}", *config.server.listen]:
        client = resources.enter_context(ApplianceClient(address, token))
        try:
            client.status(LOOK_S)
        except CallError as exc:
            if exc.status in {"UNAVAILABLE", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNKNOWN"}:
                continue  # nobody, or another program on that port
            raise click.ClickException(str(exc)) from exc
        return client
    return None
