"""`appliance token`: who may call from elsewhere, and who may do more than the rest."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from appliance.callers import NAME_PATTERN, CallerRole, TokenFile
from appliance.cli.connect import failures_in_words
from appliance.config import load_config

_STATE_DIR = click.option(
    "--state-dir", type=click.Path(path_type=Path, file_okay=False), help="The daemon's state directory."
)
_CONFIG = click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="The daemon's settings, a TOML file."
)


def _places(command: Callable[..., Any]) -> Callable[..., Any]:
    return _STATE_DIR(_CONFIG(command))


@click.group()
def token() -> None:
    """Make, list and remove tokens of callers."""


@token.command("add")
@click.argument("name")
@click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    type=click.Choice([role.value for role in CallerRole]),
    help="What the caller is here for; may be given several times.",
)
@_places
def add_token(name: str, roles: tuple[str, ...], state_dir: Path | None, config: Path | None) -> None:
    """Make a token and print it; it is shown this once."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise click.BadParameter(
            f"expected small letters, digits, dots, dashes and underscores, at most 64, and got {name[:80]!r}"
        )
    with failures_in_words():
        path = load_config(config, state_dir=state_dir).token_path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        click.echo(TokenFile(path).add(name, frozenset(map(CallerRole, roles))))


@token.command("list")
@_places
def list_tokens(state_dir: Path | None, config: Path | None) -> None:
    """List names and roles; the tokens themselves are not kept."""
    with failures_in_words():
        entries = TokenFile(load_config(config, state_dir=state_dir).token_path).entries()
    table = Table("name", "roles")
    for entry in entries:
        table.add_row(entry.name, ", ".join(sorted(role.value for role in entry.roles)))
    Console().print(table if entries else "There are no tokens.")


@token.command("remove")
@click.argument("name")
@_places
def remove_token(name: str, state_dir: Path | None, config: Path | None) -> None:
    """Forget a token; it counts no more from the next call on."""
    with failures_in_words():
        TokenFile(load_config(config, state_dir=state_dir).token_path).remove(name)
    click.echo(f"{name} is removed.")
