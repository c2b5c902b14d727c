"""Chunks that the box holds already, in whatever bundle: found by hash, checked, never fetched again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.bundles.release import Chunk, PackIndex


class Seeds:
    """Looks a chunk up in the files of other packs.

    Args:
        packs: pack directories with their chunk lists.
    """

    def __init__(self, packs: Iterable[tuple[Path, PackIndex]]) -> None:
        self._places: dict[str, tuple[Path, Chunk]] = {}
        for directory, index in packs:
            for file in index.files:
                for chunk in file.pieces():
                    self._places.setdefault(chunk.sha256, (directory / file.path, chunk))

    def find(self, sha256: str) -> bytes | None:
        """The bytes of a chunk; None where no pack has it or the disk gave back others."""
        place = self._places.get(sha256)
        if place is None:
            return None
        path, chunk = place
        try:
            with path.open("rb", buffering=0) as file:
                data = os.pread(file.fileno(), chunk.size_bytes, chunk.offset)
        except OSError:
            return None
        return data if hashes_to(data, sha256) else None


def hashes_to(data: bytes, sha256: str) -> bool:
    """Whether the SHA-256 of `data` is this one."""
    return hashlib.sha256(data).hexdigest() == sha256


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A file for reading and writing in place, as a descriptor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
