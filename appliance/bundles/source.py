"""Where releases come from: one interface, and behind it a directory (USB stick), HTTPS or, later, MQTT.

A source is never trusted: it streams bytes by path, and whoever asked checks them against signed hashes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from appliance.errors import NotFound, SourceUnavailable

READ_BYTES = 256 * 1024
"""A chunk of the largest size is one read."""

METADATA, TARGETS, CHUNKS = "metadata", "targets", "chunks"
"""The three folders of a release directory."""


class ReleaseSource(Protocol):
    """Gives the files of a release directory by their path in it."""

    def stream(self, path: str) -> Iterator[bytes]:
        """The bytes of a file, in pieces of any size.

        Raises:
            NotFound: there is no such file, and asking again will not help.
            SourceUnavailable: not reachable, or broken off; asking again can help.
        """
        ...

    @property
    def name(self) -> str:
        """For people and for the record: a folder or an address, without secrets."""
        ...


class DirectorySource:
    """A folder in the release format, for instance on a USB stick.

    Args:
        root: the folder that holds `metadata`, `targets` and `chunks`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def name(self) -> str:
        """The folder."""
        return str(self._root)

    def stream(self, path: str) -> Iterator[bytes]:
        """See `ReleaseSource.stream`."""
        parts = path.split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise NotFound(f"expected a plain path in a release and got {path!r}")
        if not self._root.is_dir():
            raise SourceUnavailable(f"expected a release directory and got nothing at {self._root}")
        try:
            # a stick may hold anything, also a pipe under the name of a file: never wait for one to be opened
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._root.joinpath(*parts), flags)
        except FileNotFoundError as exc:
            raise NotFound(f"the release at {self._root} has no {path}") from exc
        except OSError as exc:
            raise SourceUnavailable(f"cannot read {path} of {self._root}: {exc.strerror}") from exc
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise NotFound(f"expected a file at {path} of {self._root} and got another thing")
            try:
                while piece := file.read(READ_BYTES):
                    yield piece
            except OSError as exc:
                raise SourceUnavailable(f"reading {path} of {self._root} broke off: {exc.strerror}") from exc


def read_at_most(source: ReleaseSource, path: str, max_bytes: int) -> bytes:
    """A whole file of at most `max_bytes`.

    Raises:
        SourceUnavailable: it goes on beyond `max_bytes` (endless data), or see `ReleaseSource.stream`.
    """
    pieces: list[bytes] = []
    total = 0
    for piece in source.stream(path):
        total += len(piece)
        if total > max_bytes:
            raise SourceUnavailable(f"expected at most {max_bytes} bytes in {path} and got more")
        pieces.append(piece)
    return b"".join(pieces)


def chunk_path(sha256: str) -> str:
    """Where a chunk lies in a release directory."""
    return f"{CHUNKS}/{sha256[:2]}/{sha256}"
