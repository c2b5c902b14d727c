"""Regions of POSIX shared memory that callers have registered: bounded, checked, and kept while in use.

A region is read and written through a file descriptor, never mapped. A mapping would be faster by one copy,
but the memory object belongs to the caller: if they shrink it while we look at a mapped page, the kernel ends
the daemon with SIGBUS. A read through a descriptor comes back short instead: an error like any other.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import AlreadyExists, InvalidInput, LimitExceeded, NotFound, Unavailable

OBJECTS = Path("/dev/shm")
"""Where Linux keeps POSIX shared memory objects (shm_overview(7))."""

KEY = re.compile(r"/?([^/\0]{1,255})")
"""A memory object's name: at most one slash, at the start (shm_open(3))."""

MAX_NAME_CHARACTERS = 256


@dataclass(frozen=True)
class RegionInfo:
    """What was registered."""

    name: str  # the caller's name for it
    key: str  # name of the memory object
    offset: int  # where in the object it begins, bytes
    size_bytes: int


class Region:
    """A part of an open memory object; offsets are counted from its beginning."""

    def __init__(self, info: RegionInfo, descriptor: int) -> None:
        self.info = info
        self._descriptor = descriptor
        self.users = 0
        self.forgotten = False

    def check(self, offset: int, size_bytes: int) -> None:
        """InvalidInput unless `size_bytes` from `offset` lie inside the region."""
        if offset + size_bytes > self.info.size_bytes:
            raise InvalidInput(
                f"expected a place inside the {self.info.size_bytes} bytes of shared memory region"
                f" {self.info.name!r} and got {size_bytes} bytes at offset {offset}"
            )

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` (bytes, writable) from `offset`; InvalidInput beyond the region's or object's end."""
        self.check(offset, len(buffer))
        done = 0
        while done < len(buffer):
            got = os.preadv(self._descriptor, [buffer[done:]], self.info.offset + offset + done)
            if got == 0:
                raise InvalidInput(
                    f"expected {len(buffer)} bytes at offset {offset} of shared memory region"
                    f" {self.info.name!r} and got {done}: the memory object has shrunk since"
                )
            done += got

    def write(self, data: memoryview, offset: int) -> None:
        """Write `data` (bytes) at `offset`.

        Raises:
            InvalidInput: beyond the region's or the object's end.
            Unavailable: the system has no memory left for the object.
        """
        self.check(offset, len(data))
        end = self.info.offset + offset + len(data)
        size = os.fstat(self._descriptor).st_size
        if end > size:  # writing there would make the caller's object grow
            raise InvalidInput(
                f"expected {end} bytes in the memory object of shared memory region {self.info.name!r}"
                f" and got {size}: it has shrunk since"
            )
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._descriptor, data[done:], self.info.offset + offset + done)
        except OSError as exc:
            raise Unavailable(
                f"cannot write to shared memory region {self.info.name!r}: {exc.strerror}"
            ) from exc

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


class RegionTable:
    """The regions by name.

    Args:
        max_regions: most regions at a time; 0 means that none can be registered.
        max_bytes: most bytes in all regions together.
        objects: the folder with the memory objects.
    """

    def __init__(self, max_regions: int, max_bytes: int, objects: Path = OBJECTS) -> None:
        self._max_regions = max_regions
        self._max_bytes = max_bytes
        self._objects = objects
        self._lock = threading.Lock()
        self._regions: dict[str, Region] = {}

    @property
    def offered(self) -> bool:
        """Whether any region can be registered at all."""
        return self._max_regions > 0

    def register(self, name: str, key: str, offset: int, size_bytes: int) -> None:
        """Make a part of a memory object known under a name.

        Args:
            name: for requests; not used by another region.
            key: name of the memory object, with or without the slash before it.
            offset: where the region begins, bytes.
            size_bytes: its size.

        Raises:
            InvalidInput: a name, key or size that cannot be, or an object that is none of shared memory, is
                not open to the daemon, or is too short.
            NotFound: no such memory object.
            AlreadyExists: the name is taken.
            LimitExceeded: too many regions, or too many bytes in them.
        """
        _check_name(name)
        if size_bytes < 1:
            raise InvalidInput(f"expected a region of 1 byte or more and got {size_bytes}")
        descriptor = self._open(key)
        try:
            actual = os.fstat(descriptor).st_size
            if offset + size_bytes > actual:
                raise InvalidInput(
                    f"expected a region inside the {actual} bytes of memory object {key!r}"
                    f" and got {size_bytes} bytes at offset {offset}"
                )
            self._add(Region(RegionInfo(name, key, offset, size_bytes), descriptor))
        except BaseException:
            os.close(descriptor)
            raise

    def unregister(self, name: str) -> None:
        """Forget a region; requests that use it finish first. An unknown name is forgotten already."""
        with self._lock:
            region = self._regions.pop(name, None)
            if region is not None:
                self._forget(region)

    def unregister_all(self) -> None:
        """Forget every region."""
        with self._lock:
            while self._regions:
                self._forget(self._regions.popitem()[1])

    def infos(self, name: str = "") -> tuple[RegionInfo, ...]:
        """All regions, or the one of a name; NotFound if there is none of that name."""
        with self._lock:
            if not name:
                return tuple(region.info for region in self._regions.values())
            return (self._find(name).info,)

    @contextmanager
    def use(self, name: str) -> Iterator[Region]:
        """A region for the length of a `with` block, also if it is unregistered meanwhile; or NotFound."""
        with self._lock:
            region = self._find(name)
            region.users += 1
        try:
            yield region
        finally:
            with self._lock:
                region.users -= 1
                if region.forgotten and region.users == 0:
                    region.close()

    def _find(self, name: str) -> Region:
        if name not in self._regions:
            raise NotFound(f"expected the name of a registered shared memory region and got {name[:64]!r}")
        return self._regions[name]

    def _add(self, region: Region) -> None:
        name, size_bytes = region.info.name, region.info.size_bytes
        with self._lock:
            if name in self._regions:
                raise AlreadyExists(
                    f"shared memory region {name!r} is registered already; unregister it first"
                )
            if len(self._regions) >= self._max_regions:
                raise LimitExceeded(
                    f"expected fewer than {self._max_regions} shared memory regions and got one more"
                )
            total = size_bytes + sum(one.info.size_bytes for one in self._regions.values())
            if total > self._max_bytes:
                raise LimitExceeded(
                    f"expected at most {self._max_bytes} bytes in all shared memory regions and got {total}"
                )
            self._regions[name] = region

    def _forget(self, region: Region) -> None:
        region.forgotten = True
        if region.users == 0:
            region.close()

    def _open(self, key: str) -> int:
        match = KEY.fullmatch(key)
        if match is None or match[1] in {".", ".."}:
            raise InvalidInput(
                "expected the name of a memory object, with no slash but one at its start,"
                f" and got {key[:64]!r}"
            )
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO shall not hold us up
        try:
            descriptor = os.open(self._objects / match[1], flags)
        except FileNotFoundError as exc:
            raise NotFound(f"expected a memory object {key!r} and found none") from exc
        except (OSError, ValueError) as exc:  # ValueError: text that the file system cannot spell
            raise InvalidInput(
                f"expected a memory object {key!r} that the daemon may read and write: {type(exc).__name__}"
            ) from exc
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not _is_shared_with_us(status):
            os.close(descriptor)
            raise InvalidInput(f"expected a memory object {key!r} that the daemon may read and write")
        return descriptor


def _check_name(name: str) -> None:
    if not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
        raise InvalidInput(
            f"expected a printable region name of 1 to {MAX_NAME_CHARACTERS} characters and got {name[:64]!r}"
        )


def _is_shared_with_us(status: os.stat_result) -> bool:
    """What the mode grants us, asked also where we are root: a caller must not reach what is not theirs."""
    if status.st_uid == os.geteuid():
        return True
    ours = status.st_gid in {os.getegid(), *os.getgroups()}
    wanted = stat.S_IRGRP | stat.S_IWGRP if ours else stat.S_IROTH | stat.S_IWOTH
    return status.st_mode & wanted == wanted
