"""The few ways in which anything under the releases folder changes; each is on the disk when it returns.

Write a temporary file, flush it, rename it, flush the directory: after a power cut there is the old content
or the new one, never a mixture (Pillai et al., OSDI 2014, on what file systems do without the flushes).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from appliance.errors import StorageUnavailable

TEMPORARY = ".tmp"
"""Suffix of what was never finished; it may go at any time."""

Observer = Callable[[str, Path], None]


def _nothing(_step: str, _path: Path) -> None:
    """The observer of a box: none."""


class DurableFiles:
    """Changes files so that a power cut at any moment leaves the state before or after.

    Args:
        before_step: told the name and path of each step before it is taken; a fault test ends the process or
            cuts the power there.
    """

    def __init__(self, before_step: Observer = _nothing) -> None:
        self._before_step = before_step

    def write(self, path: Path, data: bytes, mode: int = 0o600) -> None:
        """Replace `path` with `data` as a whole; StorageUnavailable where that cannot be done."""
        temporary = path.with_name(path.name + TEMPORARY)
        try:
            self._before_step("write", path)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
            try:
                _write_all(descriptor, data)
                self._before_step("flush", path)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._before_step("rename", path)
            temporary.replace(path)
            self._before_step("flush directory", path)
            _flush_directory(path.parent)
        except OSError as exc:
            raise _storage(exc, path) from exc
        self._before_step("written", path)

    def append(self, path: Path, data: bytes) -> None:
        """Add `data` at the end; a cut may leave a part of it, so each record needs its own checksum."""
        try:
            self._before_step("append", path)
            new = not path.exists()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                _write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if new:
                _flush_directory(path.parent)
        except OSError as exc:
            raise _storage(exc, path) from exc
        self._before_step("appended", path)

    def make_directory(self, path: Path) -> None:
        """Make a directory and those above it; nothing to do where it is there."""
        if path.is_dir():
            return
        try:
            self._before_step("make directory", path)
            missing = [path, *path.parents]
            for folder in reversed(missing):
                if not folder.is_dir():
                    folder.mkdir(mode=0o700, exist_ok=True)
                    _flush_directory(folder.parent)
        except OSError as exc:
            raise _storage(exc, path) from exc

    def reserve(self, path: Path, size_bytes: int) -> None:
        """Make a file of `size_bytes` with its blocks on the disk; what it holds already stays."""
        try:
            self._before_step("reserve", path)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if size_bytes:
                    os.posix_fallocate(descriptor, 0, size_bytes)
                os.ftruncate(descriptor, size_bytes)
            finally:
                os.close(descriptor)
        except OSError as exc:
            raise _storage(exc, path) from exc

    def write_at(self, descriptor: int, data: bytes, offset: int, path: Path) -> None:
        """Write into an open file; durable only after `flush_tree`, so its reader checks a hash."""
        try:
            self._before_step("write chunk", path)
            view = memoryview(data)
            while view:
                written = os.pwrite(descriptor, view, offset)
                view, offset = view[written:], offset + written
        except OSError as exc:
            raise _storage(exc, path) from exc

    def flush_tree(self, directory: Path) -> None:
        """Flush every file and folder below `directory`, and itself."""
        try:
            self._before_step("flush tree", directory)
            for parent, _folders, names in os.walk(directory, topdown=False):
                for name in names:
                    flush_file(Path(parent, name))
                _flush_directory(Path(parent))
        except OSError as exc:
            raise _storage(exc, directory) from exc

    def move(self, source: Path, target: Path) -> None:
        """Rename a directory or file within one file system; `target` must not be there."""
        try:
            self._before_step("move", target)
            source.rename(target)
            self._before_step("flush move", target)
            _flush_directory(target.parent)
            if source.parent != target.parent:
                _flush_directory(source.parent)
        except OSError as exc:
            raise _storage(exc, target) from exc
        self._before_step("moved", target)

    def remove(self, path: Path) -> None:
        """Delete a file or a whole directory; nothing to do where it is gone."""
        if not path.exists() and not path.is_symlink():
            return
        try:
            self._before_step("remove", path)
            if path.is_dir() and not path.is_symlink():
                # first out of the way as a whole: a cut must not leave half a bundle under its name
                doomed = path if path.name.endswith(TEMPORARY) else path.with_name(path.name + TEMPORARY)
                if doomed != path:
                    shutil.rmtree(doomed, ignore_errors=True)
                    path.rename(doomed)
                    _flush_directory(path.parent)
                self._before_step("remove tree", path)
                shutil.rmtree(doomed)
            else:
                path.unlink(missing_ok=True)
            _flush_directory(path.parent)
        except OSError as exc:
            raise _storage(exc, path) from exc


def flush_file(path: Path) -> None:
    """Bring a file's content to the disk; OSError as the system gives it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _storage(exc: OSError, path: Path) -> StorageUnavailable:
    what = "the disk is full" if exc.errno == errno.ENOSPC else exc.strerror or str(exc)
    return StorageUnavailable(f"cannot change {path.name} of the model releases: {what}")
