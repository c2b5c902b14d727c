"""A small record in two files with checksums, as a boot loader keeps its environment: the newest that is
whole counts.

A write replaces the older of the two, so the newest good record is never touched, and a flipped bit costs one
step back, not the record.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from appliance.bundles.durable import DurableFiles

SUFFIXES = (".a.json", ".b.json")
MAX_BYTES = 1 << 20
Tree = dict[str, Any]


class SlotFile:
    """One record of JSON values.

    Args:
        files: makes writes durable.
        directory, name: the record is `NAME.a.json` and `NAME.b.json` there.
    """

    def __init__(self, files: DurableFiles, directory: Path, name: str) -> None:
        self._files = files
        self._paths = tuple(directory / f"{name}{suffix}" for suffix in SUFFIXES)

    def read(self) -> Tree | None:
        """The newest record that is whole; None where there is none."""
        newest = max(self._whole(), key=lambda found: found[0], default=None)
        return newest[2] if newest is not None else None

    @property
    def damaged(self) -> tuple[str, ...]:
        """Names of the files that are there and not whole."""
        whole = {path for _number, path, _tree in self._whole()}
        return tuple(path.name for path in self._paths if path.exists() and path not in whole)

    def write(self, tree: Tree) -> None:
        """Make `tree` the newest record; StorageUnavailable where that cannot be done."""
        found = {path: number for number, path, _tree in self._whole()}
        target = min(self._paths, key=lambda path: found.get(path, -1))
        number = max(found.values(), default=0) + 1
        self._files.write(target, seal({"number": number, "record": tree}))

    def remove(self) -> None:
        """Forget the record."""
        for path in self._paths:
            self._files.remove(path)

    def _whole(self) -> list[tuple[int, Path, Tree]]:
        found = []
        for path in self._paths:
            parsed = _parse(path)
            if parsed is not None:
                found.append((parsed[0], path, parsed[1]))
        return found


def seal(tree: Tree) -> bytes:
    """A record as it is written: its SHA-256, a line feed, and JSON."""
    text = json.dumps(tree, sort_keys=True)
    return f"{_digest(text)}\n{text}\n".encode()


def unseal(path: Path) -> Tree | None:
    """A record of `seal`; None where there is none or a bit of it is wrong."""
    try:
        with path.open("rb") as file:
            digest, text, end = file.read(MAX_BYTES).decode().split("\n")
        return dict(json.loads(text)) if not end and digest == _digest(text) else None
    except (OSError, ValueError, TypeError):
        return None


def _parse(path: Path) -> tuple[int, Tree] | None:
    tree = unseal(path)
    try:
        return (int(tree["number"]), dict(tree["record"])) if tree is not None else None
    except (KeyError, ValueError, TypeError):
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
