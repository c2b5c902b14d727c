"""How the daemon and its decoder worker talk over a socket: one JSON head and one payload of bytes each way.

Plain copies through a Unix socket, no shared memory: nothing is left behind by a worker that was killed, and
no page can change or vanish under the reader.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

_PREFIX = struct.Struct("<IQ")  # bytes of the head, bytes of the payload
MAX_HEAD_BYTES = 64 * 1024


class HangupError(Exception):
    """The other side closed the connection or broke the format."""


def send(
    connection: socket.socket, head: dict[str, Any], payload: bytes | memoryview, until_s: float
) -> None:
    """Send one message before `until_s` on the monotonic clock.

    Raises:
        TimeoutError: the other side did not take it in time.
        HangupError: the other side is gone.
    """
    encoded = json.dumps(head).encode()
    prefix = _PREFIX.pack(len(encoded), len(payload)) + encoded
    try:
        for part in (prefix, payload):
            connection.settimeout(_left_s(until_s))
            connection.sendall(part)
    except (BrokenPipeError, ConnectionResetError) as exc:
        raise HangupError("expected a listener and got a closed connection") from exc


def receive_head(connection: socket.socket, until_s: float) -> tuple[dict[str, Any], int]:
    """Head of the next message and the size of its payload in bytes.

    Raises:
        TimeoutError: nothing complete came in time.
        HangupError: the connection closed, or what came is no message.
    """
    head_bytes, payload_bytes = _PREFIX.unpack(receive_exactly(connection, _PREFIX.size, until_s))
    if head_bytes > MAX_HEAD_BYTES:
        raise HangupError(f"expected a head of at most {MAX_HEAD_BYTES} bytes and got {head_bytes}")
    try:
        head = json.loads(receive_exactly(connection, head_bytes, until_s))
    except ValueError as exc:
        raise HangupError("expected JSON and got something else") from exc
    if not isinstance(head, dict):
        raise HangupError("expected a JSON object and got something else")
    return head, payload_bytes


def receive_exactly(connection: socket.socket, size_bytes: int, until_s: float) -> bytes:
    """The next `size_bytes` bytes; raises like `receive_head`."""
    buffer = bytearray(size_bytes)
    receive_into(connection, memoryview(buffer), until_s)
    return bytes(buffer)


def receive_into(connection: socket.socket, target: memoryview, until_s: float) -> None:
    """Fill `target` (bytes, contiguous); raises like `receive_head`."""
    filled = 0
    while filled < len(target):
        connection.settimeout(_left_s(until_s))
        try:
            count = connection.recv_into(target[filled:])
        except ConnectionResetError as exc:
            raise HangupError("expected more bytes and got a reset connection") from exc
        if count == 0:
            raise HangupError(f"expected {len(target)} bytes and got {filled} before the end")
        filled += count


def _left_s(until_s: float) -> float | None:
    """Seconds for the socket to wait; None, for ever, when there is no end."""
    if until_s == float("inf"):
        return None
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("the time for this message is up")
    return left_s
