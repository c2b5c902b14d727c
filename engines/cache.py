"""Compiled engines on disk: bounded, written atomically, and never trusted without its checksum.

One file per fingerprint: a magic line, the length of a JSON header, the header (sha256 and size of the
payload, the adapter's own facts), the payload. A file that fails any check is deleted and built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MAGIC = b"appliance-engine-1\n"
_LENGTH = struct.Struct("<I")
_MAX_HEADER_BYTES = 1 << 20
_KEY = re.compile(r"[0-9a-z-]{1,128}")
_SUFFIX = ".engine"
_TEMPORARY = ".tmp"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedEngine:
    """A verified entry: the runtime's own compiled form and what the adapter wrote beside it."""

    payload: bytes
    facts: dict[str, Any]


class CompileCache:
    """A directory of compiled engines, at most `max_bytes` in all; the one unused longest goes first.

    A cache is a convenience: reading a bad entry gives None, and a failed write (disk full) is logged
    and forgotten. Several threads and processes may share the directory.
    """

    def __init__(self, directory: Path, max_bytes: int = 2 << 30) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes: expected 1 or more, got {max_bytes}")
        self._directory = directory
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)
        for leftover in directory.glob(f"*{_TEMPORARY}"):  # a writer that lost its power
            leftover.unlink(missing_ok=True)

    def get(self, key: str) -> CachedEngine | None:
        """The entry, or None if there is none or it was damaged (then it is deleted)."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            _log.warning("compile cache: entry %s is unreadable (%s); building again", key[:12], exc.strerror)
            return None
        try:
            entry = _parse(content, key)
        except ValueError as exc:
            _log.warning("compile cache: entry %s is damaged (%s); building again", key[:12], exc)
            self.discard(key)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return entry

    def put(self, key: str, payload: bytes | memoryview, facts: dict[str, Any]) -> bool:
        """Store an entry, then delete the least recently used ones beyond the bound; False if not stored."""
        path = self._path(key)
        header = json.dumps(
            {"key": key, "sha256": hashlib.sha256(payload).hexdigest(), "size": len(payload), "facts": facts}
        ).encode()
        size = len(_MAGIC) + _LENGTH.size + len(header) + len(payload)
        if size > self._max_bytes:
            _log.warning("compile cache: %d bytes are over its bound of %d", size, self._max_bytes)
            return False
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}{_TEMPORARY}")
        try:
            with temporary.open("wb") as file:
                for part in (_MAGIC, _LENGTH.pack(len(header)), header, payload):
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_directory(self._directory)
        except OSError as exc:
            _log.warning("compile cache: entry %s was not stored: %s", key[:12], exc.strerror)
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            return False
        self._prune(keep=path)
        return True

    def discard(self, key: str) -> None:
        """Delete an entry, for instance one that the runtime would not load."""
        with contextlib.suppress(OSError):
            self._path(key).unlink(missing_ok=True)

    def size_bytes(self) -> int:
        """Bytes of all entries."""
        return sum(size for _, size, _ in self._entries())

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"expected a key of 1 to 128 characters 0-9 a-z -, got {key!r}")
        return self._directory / f"{key}{_SUFFIX}"

    def _entries(self) -> list[tuple[int, int, Path]]:
        found = []
        for path in self._directory.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # another process pruned it
                stat = path.stat()
                found.append((stat.st_mtime_ns, stat.st_size, path))
        return sorted(found)

    def _prune(self, keep: Path) -> None:
        with self._lock:
            entries = self._entries()
            total = sum(size for _, size, _ in entries)
            for _, size, path in entries:
                if total <= self._max_bytes:
                    return
                if path != keep:
                    path.unlink(missing_ok=True)
                    total -= size


def _parse(content: bytes, key: str) -> CachedEngine:
    start = len(_MAGIC) + _LENGTH.size
    if not content.startswith(_MAGIC) or len(content) < start:
        raise ValueError("no engine entry")
    (length,) = _LENGTH.unpack_from(content, len(_MAGIC))
    if length > _MAX_HEADER_BYTES or start + length > len(content):
        raise ValueError(f"expected a header of {length} bytes, got {len(content) - start}")
    header = json.loads(content[start : start + length])
    payload = content[start + length :]
    if not isinstance(header, dict) or header.get("key") != key:
        raise ValueError("the header belongs to another entry")
    if header.get("size") != len(payload):
        raise ValueError(f"expected {header.get('size')} bytes of payload, got {len(payload)}")
    if header.get("sha256") != hashlib.sha256(payload).hexdigest():
        raise ValueError("the checksum differs")
    facts = header.get("facts")
    if not isinstance(facts, dict):
        raise ValueError("the header has no facts")
    return CachedEngine(payload, facts)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
