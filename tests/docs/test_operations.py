"""docs/operations.md names every command, option, configuration key and error kind there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from appliance import errors
from appliance.cli import main
from appliance.config import Config
from appliance.rpc.statuses import kind_of, status_of

REPOSITORY = Path(__file__).resolve().parents[2]
OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text()


def commands(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, (*words, name))
    else:
        yield " ".join(words), command


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def kinds(error: type[errors.ApplianceError]) -> Iterator[type[errors.ApplianceError]]:
    for child in error.__subclasses__():
        if child.__module__ == errors.__name__:  # the client's own error never crosses the wire
            yield child
            yield from kinds(child)


COMMANDS = dict(commands(main, ("appliance",)))
KEYS = tuple(keys(Config))
KINDS = tuple(dict.fromkeys(kinds(errors.ApplianceError)))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_its_options(name: str) -> None:
    assert f"`{name}" in OPERATIONS
    options = [o for o in COMMANDS[name].params if isinstance(o, click.Option) and not o.hidden]
    missing = [max(o.opts, key=len) for o in options if max(o.opts, key=len) not in OPERATIONS]
    assert not missing, f"{name}: options without a word in docs/operations.md"


@pytest.mark.parametrize("key", KEYS)
def test_every_configuration_key_with_its_default(key: str) -> None:
    section, _, name = key.rpartition(".")
    model: BaseModel = getattr(Config(), section) if section else Config()
    default = getattr(model, name)
    row = re.search(rf"^\| `{re.escape(key)}` \| (?P<default>.*?) \| .+ \|$", OPERATIONS, re.MULTILINE)

    assert row, f"expected a table row for `{key}`"
    if isinstance(default, tuple):
        assert row["default"] == "`[" + ", ".join(f'"{word}"' for word in default) + "]`"
    elif isinstance(default, str):
        assert row["default"] == f'`"{default}"`'
    elif default is None:
        assert row["default"] == "none"
    else:
        assert row["default"] == f"`{default:g}`"


def test_no_configuration_key_that_does_not_exist() -> None:
    named = re.findall(r"^\| `([a-z_]+(?:\.[a-z_]+)?)` \| [^|]+ \| [^|]+ \|$", OPERATIONS, re.MULTILINE)

    assert set(named) == set(KEYS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_kind_with_its_status(kind: type[errors.ApplianceError]) -> None:
    error = kind.__new__(kind)
    pattern = rf"^\| `{kind_of(error)}` \| `?{status_of(error).name}`? \|"

    assert re.search(pattern, OPERATIONS, re.MULTILINE), f"expected a row that matches {pattern}"


def test_make_targets_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    documents = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    named = {
        name for path in documents for name in re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text(), re.M)
    }

    assert {"demo", "test", "check"} <= named
    assert named <= targets


def test_links_between_documents_lead_somewhere() -> None:
    documents = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    dead = [
        f"{path.relative_to(REPOSITORY)} → {target}"
        for path in documents
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text())
        if not (path.parent / target).exists()
    ]

    assert documents
    assert not dead


def test_every_decision_is_in_the_index() -> None:
    folder = REPOSITORY / "docs" / "adr"
    index = (folder / "README.md").read_text()
    decisions = [path.name for path in folder.glob("[0-9]*.md")]

    assert "0001-layers.md" in decisions
    assert [name for name in decisions if f"({name})" not in index] == []
