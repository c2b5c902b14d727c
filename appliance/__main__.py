"""`appliance` and `python -m appliance`: set the allocator for the daemon, then run the command line."""

from __future__ import annotations

import os
import sys

ALLOCATOR_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": str(256 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
"""glibc keeps the memory of large messages instead of giving it back and faulting it in again for each
request: half the CPU of a 5 MB request (mallopt(3)). They count only from the start of a process."""


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["serve"]:
        restart_with_allocator_settings()
    # not at the top: it imports everything, and a process that is about to restart need not wait for that
    from appliance.cli import main as command_line

    command_line()


def restart_with_allocator_settings() -> None:
    """Run this same command again in this process, once; a person's own settings are left alone."""
    if any(name in os.environ for name in ALLOCATOR_SETTINGS) or not sys.platform.startswith("linux"):
        return
    os.environ.update(ALLOCATOR_SETTINGS)
    # the daemon starts programs but never forks itself; gRPC would note each start in the log
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.execv(sys.executable, [sys.executable, "-m", "appliance", *sys.argv[1:]])


if __name__ == "__main__":
    main()
