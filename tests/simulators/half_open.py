"""A client that speaks just enough HTTP/2 to begin calls, and then stalls: it answers nothing, nor pings."""

from __future__ import annotations

import socket
import struct
from types import TracebackType

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4
END_HEADERS = 4
FRAME_HEAD_BYTES = 9


class HalfOpen:
    """One connection to a server's Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_s)
        self._socket.connect(path)
        self._read = b""
        self._next_stream = 1

    def __enter__(self) -> HalfOpen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Anything."""
        self._socket.sendall(data)

    def greet(self) -> None:
        """What every client says first."""
        self._socket.sendall(PREFACE + _frame(SETTINGS, 0, 0, b""))

    def begin(self, method: str, message_bytes: int | None = None, sent: bytes = b"") -> int:
        """Begin a call, and a message of `message_bytes` of which only `sent` comes; the stream's number."""
        number, self._next_stream = self._next_stream, self._next_stream + 2
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": method,
            ":authority": "x",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())
        self._socket.sendall(_frame(HEADERS, END_HEADERS, number, block))
        if message_bytes is not None:
            self._socket.sendall(_frame(DATA, 0, number, struct.pack(">BI", 0, message_bytes) + sent))
        return number

    def wait_for_end(self, streams: set[int]) -> None:
        """Read until the server has ended all these streams; ConnectionError if it hangs up before."""
        left = set(streams)
        while left:
            kind, number = self._frame()
            if kind in {HEADERS, RST_STREAM}:
                left.discard(number)

    def wait_for_hang_up(self) -> None:
        """Read until the server has closed the connection."""
        try:
            while self._socket.recv(65536):
                pass
        except ConnectionError:
            return

    def _frame(self) -> tuple[int, int]:
        head = self._take(FRAME_HEAD_BYTES)
        self._take(int.from_bytes(head[:3], "big"))
        return head[3], int.from_bytes(head[5:], "big")

    def _take(self, size: int) -> bytes:
        while len(self._read) < size:
            more = self._socket.recv(65536)
            if not more:
                raise ConnectionError("the server has hung up")
            self._read += more
        taken, self._read = self._read[:size], self._read[size:]
        return taken


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _text(text: str) -> bytes:
    return bytes((len(text),)) + text.encode()
