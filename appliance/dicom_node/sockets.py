"""Repairs how pynetdicom 3.0 closes sockets: where the shutdown fails, it leaves the descriptor open.

A refused connection is such a case, and a destination that is away refuses one at every try. Without this the
descriptors wait for the garbage collector.
"""

from __future__ import annotations

import socket
from contextlib import suppress

from pynetdicom.transport import AssociationSocket


def repair() -> None:
    """Let every `AssociationSocket` close its socket, whatever the shutdown says; may be called often."""
    AssociationSocket._shutdown_socket = _shut_down  # type: ignore[method-assign]


def _shut_down(self: AssociationSocket) -> None:
    if self.socket is not None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            self.socket.close()
