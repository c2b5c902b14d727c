"""Ways to die in the middle of an install: in this process, by SIGKILL, by a cut of the power under a real
ext4.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

EXT4_IOC_SHUTDOWN = 0x8004587D
EXT4_GOING_FLAGS_NOLOGFLUSH = 2
"""Neither data nor journal are written out: what a plug pulled from the wall does (fs/ext4/ext4.h)."""

IMAGE_MIB = 32


class Death(BaseException):
    """The process is no more: not even an `except Exception` hears of it."""


class DieAt:
    """Told of each step that changes the disk; dies at the one with the number, and stays dead.

    Args:
        number: which step, from 0; None only counts.
        how: what happens there.
    """

    def __init__(self, number: int | None, how: Callable[[], None]) -> None:
        self._number = number
        self._how = how
        self.seen: list[tuple[str, Path]] = []

    def __call__(self, step: str, path: Path) -> None:
        self.seen.append((step, path))
        if self._number is not None and len(self.seen) > self._number:
            self._how()


class FullFrom(DieAt):
    """No death: from the step with the number on the disk is full; a step that is done already does not
    fail.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number, full_disk)

    def __call__(self, step: str, path: Path) -> None:
        if step not in ("written", "appended", "moved"):
            super().__call__(step, path)


def die_here() -> None:
    """In this process."""
    raise Death


def die_by_signal() -> None:
    """As the kernel's memory killer does it."""
    os.kill(os.getpid(), signal.SIGKILL)


def full_disk() -> None:
    """What the system says where there is no room."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def cut_power(mount: Path) -> None:
    """Let the ext4 that is mounted there die without writing anything more."""
    descriptor = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", EXT4_GOING_FLAGS_NOLOGFLUSH))
    finally:
        os.close(descriptor)


def in_a_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; its wait status. A fork and not a new interpreter: there are
    hundreds.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            os._exit(3)
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


class Disk:
    """An ext4 in a file, mounted over a loop device; needs root and loop devices.

    Args:
        image: the file.
        mount: where it is mounted.
    """

    def __init__(self, image: Path, mount: Path) -> None:
        self._image = image
        self.mount = mount

    def make(self) -> None:
        """A new, empty file system."""
        with self._image.open("wb") as file:
            file.truncate(IMAGE_MIB << 20)
        _run("mkfs.ext4", "-q", "-F", "-O", "^metadata_csum_seed", str(self._image))
        self.mount.mkdir(exist_ok=True)
        self.plug_in()

    def plug_in(self) -> None:
        """Mount it, journal replayed."""
        _run("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.mount))

    def unplug(self) -> None:
        """Unmount it."""
        _run("umount", str(self.mount))

    def after_the_cut(self) -> None:
        """The machine comes back."""
        self.unplug()
        self.plug_in()


def unavailable(folder: Path) -> str | None:
    """Why real power cuts cannot be had here; None where they can."""
    if os.geteuid() != 0:
        return "only root may mount a file system"
    disk = Disk(folder / "probe.img", folder / "probe")
    try:
        disk.make()
    except (OSError, subprocess.CalledProcessError) as exc:
        return f"no ext4 over a loop device here: {exc}"
    try:
        cut_power(disk.mount)
    except OSError as exc:
        return f"this kernel does not cut the power of an ext4: {exc.strerror}"
    finally:
        disk.unplug()
    return None


@contextmanager
def small_tmpfs(folder: Path, size_kib: int) -> Iterator[Path]:
    """A file system that really is small; OSError or CalledProcessError where it cannot be mounted."""
    folder.mkdir(exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _run("umount", "-l", str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
