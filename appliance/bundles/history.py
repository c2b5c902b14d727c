"""What happened to the models of a box: one line for each event, appended, each with its own checksum."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance.bundles.durable import DurableFiles

MAX_BYTES = 4 << 20
"""From here on the older half goes; a line takes about 500 bytes."""


@dataclass(frozen=True)
class Event:
    """Which model, which engine, when, who approved, which evidence."""

    at_ms: int  # Unix milliseconds by the box's clock
    role: str
    name: str
    version: str
    bundle_id: str  # empty for a factory pack
    what: str  # state of the install, or "verified", "damaged"
    detail: str
    engine: str  # kind, device and precision; empty before there is one
    requested_by: str
    approved_by: tuple[str, ...]
    evidence: str  # id of the gate's report


class History:
    """The events on the disk.

    Args:
        path: the file.
        files: makes changes durable.
    """

    def __init__(self, path: Path, files: DurableFiles) -> None:
        self._path = path
        self._files = files

    def add(self, event: Event) -> None:
        """Append an event; StorageUnavailable where that cannot be done."""
        text = json.dumps(asdict(event), sort_keys=True)
        self._files.make_directory(self._path.parent)
        if self._path.exists() and self._path.stat().st_size > MAX_BYTES:
            lines = self._path.read_bytes().splitlines(keepends=True)
            self._files.write(self._path, b"".join(lines[len(lines) // 2 :]))
        # a line of its own even after a torn one
        self._files.append(self._path, f"\n{_digest(text)} {text}\n".encode())

    def newest(self, limit: int) -> tuple[Event, ...]:
        """The last events, newest first; lines that a cut or a flipped bit spoilt are left out."""
        if not self._path.is_file():
            return ()
        events: list[Event] = []
        for line in reversed(self._path.read_bytes().splitlines()):
            event = _parse(line)
            if event is not None:
                events.append(event)
                if len(events) == limit:
                    break
        return tuple(events)


def _parse(line: bytes) -> Event | None:
    try:
        digest, _, text = line.decode().partition(" ")
        if digest != _digest(text):
            return None
        tree = json.loads(text)
        tree["approved_by"] = tuple(tree["approved_by"])
        return Event(**tree)
    except (ValueError, KeyError, TypeError):
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
