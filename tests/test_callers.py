"""The file of tokens: made, found, taken away, and what is done about a damaged or foreign one."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.callers import MAX_TOKENS, CallerRole, TokenFile
from appliance.errors import AlreadyExists, LimitExceeded, NotFound, StorageUnavailable

OPS = frozenset((CallerRole.OPS,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def test_a_token_is_found_until_it_is_removed(path: Path) -> None:
    known = TokenFile(path)
    assert known.find("anything") is None
    token = TokenFile(path).add("central", OPS)  # another process
    found = known.find(token)
    assert found is not None
    assert (found.name, found.roles) == ("central", OPS)
    assert known.find(token + "x") is None
    assert known.find("") is None
    TokenFile(path).remove("central")
    assert known.find(token) is None


def test_the_token_itself_is_not_kept_and_the_file_is_for_its_owner(path: Path) -> None:
    token = TokenFile(path).add("central", OPS)
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["tokens.json"]


def test_names_are_taken_once_and_removed_once(path: Path) -> None:
    tokens = TokenFile(path)
    tokens.add("a", OPS)
    with pytest.raises(AlreadyExists):
        tokens.add("a", OPS)
    with pytest.raises(NotFound, match="expected the name of a token"):
        tokens.remove("b")
    assert [entry.name for entry in tokens.entries()] == ["a"]


def test_two_who_add_at_once_lose_nothing(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: TokenFile(path).add(f"t{number}", OPS), range(24)))
    assert len(TokenFile(path).entries()) == 24


def test_there_is_an_end_of_tokens(path: Path) -> None:
    entries = [
        {"name": f"t{number}", "sha256": f"{number:064x}", "roles": ["ops"]} for number in range(MAX_TOKENS)
    ]
    path.write_text(json.dumps({"tokens": entries}))
    path.chmod(0o600)
    with pytest.raises(LimitExceeded):
        TokenFile(path).add("one-more", OPS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"tokens": 1}',
        '{"tokens": [{"name": "a", "sha256": "0", "roles": ["ops"]}]}',
        '{"tokens": [{"name": "a", "sha256": "' + "0" * 64 + '", "roles": []}]}',
        '{"tokens": [{"name": "a", "sha256": "' + "0" * 64 + '", "roles": ["king"]}]}',
        '{"tokens": [], "more": 1}',
        '{"tokens": []}' + " " * (1 << 18),
    ],
)
def test_a_damaged_file_lets_nobody_in(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(StorageUnavailable, match="token file"):
        TokenFile(path).find("x")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_to_lets_nobody_in(path: Path, mode: int) -> None:
    token = TokenFile(path).add("a", OPS)
    path.chmod(mode)
    with pytest.raises(StorageUnavailable, match="alone may write to"):
        TokenFile(path).find(token)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert TokenFile(tmp_path / "no" / "tokens.json").find("x") is None
    with pytest.raises(StorageUnavailable, match="cannot use"):
        TokenFile(tmp_path / "no" / "tokens.json").add("a", OPS)


def test_a_file_that_changes_within_its_clock_tick_is_read_anew(path: Path) -> None:
    tokens = TokenFile(path)
    first = tokens.add("a", OPS)
    assert tokens.find(first) is not None
    status = path.stat()
    tokens.remove("a")
    second = tokens.add("b", OPS)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # same time, same size, another file
    assert tokens.find(first) is None
    assert tokens.find(second) is not None
