"""Regions of POSIX shared memory that callers have registered: each their own, bounded, kept while in use.

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
from contextlib import AbstractContextManager, contextmanager
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

    @property
    def is_nameless(self) -> bool:
        """Whether the memory object was unlinked."""
        return os.fstat(self._descriptor).st_nlink == 0

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


@dataclass(frozen=True)
class RegionLimits:
    """Bounds of a table."""

    max_regions: int  # at a time; 0 means that none can be registered
    max_bytes: int  # in all regions together
    max_regions_each: int  # of one caller
    max_bytes_each: int  # in all regions of one caller


class RegionTable:
    """The regions of all callers; a caller sees and uses their own alone.

    Args:
        limits: bounds.
        objects: the folder with the memory objects.
    """

    def __init__(self, limits: RegionLimits, objects: Path = OBJECTS) -> None:
        self._limits = limits
        self._objects = objects
        self._lock = threading.Lock()
        self._regions: dict[tuple[str, str], Region] = {}

    @property
    def offered(self) -> bool:
        """Whether any region can be registered at all."""
        return self._limits.max_regions > 0

    def of(self, owner: str) -> OwnRegions:
        """The regions of one caller."""
        return OwnRegions(self, owner)

    def close(self) -> None:
        """Forget every region of everybody."""
        with self._lock:
            self._forget(list(self._regions))

    def register(self, owner: str, info: RegionInfo) -> None:
        """See `OwnRegions.register`."""
        _check_name(info.name)
        if info.size_bytes < 1:
            raise InvalidInput(f"expected a region of 1 byte or more and got {info.size_bytes}")
        descriptor = _open(self._objects, info.key)
        try:
            actual = os.fstat(descriptor).st_size
            if info.offset + info.size_bytes > actual:
                raise InvalidInput(
                    f"expected a region inside the {actual} bytes of memory object {info.key!r}"
                    f" and got {info.size_bytes} bytes at offset {info.offset}"
                )
            with self._lock:
                self._add(owner, Region(info, descriptor))
        except BaseException:
            os.close(descriptor)
            raise

    def unregister(self, owner: str, name: str) -> None:
        """See `OwnRegions.unregister`."""
        with self._lock:
            self._forget([key for key in self._regions if key == (owner, name)])

    def unregister_all(self, owner: str) -> None:
        """See `OwnRegions.unregister_all`."""
        with self._lock:
            self._forget([key for key in self._regions if key[0] == owner])

    def infos(self, owner: str) -> tuple[RegionInfo, ...]:
        """See `OwnRegions.infos`."""
        with self._lock:
            return tuple(region.info for key, region in self._regions.items() if key[0] == owner)

    @contextmanager
    def use(self, owner: str, name: str) -> Iterator[Region]:
        """See `OwnRegions.use`."""
        with self._lock:
            region = self._regions.get((owner, name))
            if region is None:
                raise _unknown(name)
            region.users += 1
        try:
            yield region
        finally:
            with self._lock:
                region.users -= 1
                if region.forgotten and region.users == 0:
                    region.close()

    def _add(self, owner: str, region: Region) -> None:
        if (owner, region.info.name) in self._regions:
            raise AlreadyExists(
                f"shared memory region {region.info.name!r} is registered already; unregister it first"
            )
        excess = self._excess(owner, region)
        if excess is not None:
            # nobody can reach an object without a name but who has it open: most likely its owner has died
            self._forget([key for key, one in self._regions.items() if one.users == 0 and one.is_nameless])
            excess = self._excess(owner, region)
        if excess is not None:
            raise LimitExceeded(excess)
        self._regions[owner, region.info.name] = region

    def _excess(self, owner: str, region: Region) -> str | None:
        """Which bound one more region would break, in words; None if it fits."""
        limits, everyone = self._limits, list(self._regions.items())
        own = [one for key, one in everyone if key[0] == owner]
        for whose, regions, most, most_bytes in (
            ("all callers", [one for _, one in everyone], limits.max_regions, limits.max_bytes),
            ("one caller", own, limits.max_regions_each, limits.max_bytes_each),
        ):
            if len(regions) >= most:
                return f"expected at most {most} shared memory regions of {whose} and got one more"
            total = region.info.size_bytes + sum(one.info.size_bytes for one in regions)
            if total > most_bytes:
                return (
                    f"expected at most {most_bytes} bytes in the shared memory regions of {whose}"
                    f" and got {total}"
                )
        return None

    def _forget(self, keys: list[tuple[str, str]]) -> None:
        for key in keys:
            region = self._regions.pop(key)
            region.forgotten = True
            if region.users == 0:
                region.close()


@dataclass(frozen=True)
class OwnRegions:
    """The regions of one caller; another caller may use the same names for others."""

    table: RegionTable
    owner: str

    def register(self, name: str, key: str, offset: int, size_bytes: int) -> None:
        """Make a part of a memory object known under a name.

        Args:
            name: for requests; not used by another region of this caller.
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
        self.table.register(self.owner, RegionInfo(name, key, offset, size_bytes))

    def unregister(self, name: str) -> None:
        """Forget a region; requests that use it finish first. An unknown name is forgotten already."""
        self.table.unregister(self.owner, name)

    def unregister_all(self) -> None:
        """Forget every region of this caller."""
        self.table.unregister_all(self.owner)

    def infos(self, name: str = "") -> tuple[RegionInfo, ...]:
        """All regions, or the one of a name; NotFound if there is none of that name."""
        infos = tuple(info for info in self.table.infos(self.owner) if name in {"", info.name})
        if name and not infos:
            raise _unknown(name)
        return infos

    def use(self, name: str) -> AbstractContextManager[Region]:
        """A region for the length of a `with` block, also if it is unregistered meanwhile; or NotFound."""
        return self.table.use(self.owner, name)


def _unknown(name: str) -> NotFound:
    return NotFound(f"expected the name of a shared memory region that you registered and got {name[:64]!r}")


def _open(objects: Path, key: str) -> int:
    match = KEY.fullmatch(key)
    if match is None or match[1] in {".", ".."}:
        raise InvalidInput(
            f"expected the name of a memory object, with no slash but one at its start, and got {key[:64]!r}"
        )
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO shall not hold us up
    try:
        descriptor = os.open(objects / match[1], flags)
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
