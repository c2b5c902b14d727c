"""What pynetdicom leaves unbounded on the listening side: one PDU, one message, and the time for a handshake.

Its own server runs the TLS handshake in the thread that accepts, and reads a PDU of whatever length the peer
says.
"""

from __future__ import annotations

import logging
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from pynetdicom import AE, evt
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

LOG = logging.getLogger(__name__)
MAX_PDU_BYTES = 1 << 20
"""Four times what is offered to peers; an association request stays far below."""


@dataclass(frozen=True)
class ConnectionLimits:
    """Of one connection."""

    message_bytes: int  # one DIMSE message with its data set
    handshake_s: float  # silence within a TLS handshake
    stall_s: float  # silence within a PDU
    connections: int  # at a time, associated or not


class Meter:
    """Counts what a connection receives between two complete messages.

    Args:
        receive: reads exactly so many bytes.
        message_bytes: most of one message.
    """

    def __init__(self, receive: Callable[[int], bytearray], message_bytes: int) -> None:
        self._receive = receive
        self._message_bytes = message_bytes
        self._received = 0

    def __call__(self, nr_bytes: int) -> bytearray:
        """Receive; OSError, which ends the connection, beyond the limits."""
        self._received += nr_bytes
        if nr_bytes > MAX_PDU_BYTES or self._received > self._message_bytes:
            LOG.warning(
                "a DICOM connection is closed: its message is larger than %d bytes", self._message_bytes
            )
            raise OSError("expected a smaller message")
        return self._receive(nr_bytes)

    def begin_message(self, _event: evt.Event) -> None:
        """A message was complete."""
        self._received = 0


class _Connection(RequestHandler):
    """One connection, in a thread of its own."""

    server: NodeServer

    def handle(self) -> None:
        request = cast(socket.socket, self.request)
        if isinstance(request, ssl.SSLSocket):
            self.server.shake_hands(request)
        request.settimeout(self.server.connection_limits.stall_s)
        association = self._create_association()
        connection = cast(AssociationSocket, association.dul.socket)
        meter = Meter(connection.recv, self.server.connection_limits.message_bytes)
        connection.recv = meter  # type: ignore[method-assign]
        association.bind(evt.EVT_DIMSE_RECV, meter.begin_message)
        evt.trigger(association, evt.EVT_CONN_OPEN, {"address": self.client_address})
        association.start()


class NodeServer(ThreadedAssociationServer):
    """A server that bounds connections, handshakes and messages.

    Args:
        ae: what it supports and whom it admits.
        address: host and port.
        tls: None listens in the clear.
        handlers: of pynetdicom's events.
        limits: of each connection, and of their number.
    """

    daemon_threads = True

    def __init__(
        self,
        ae: AE,
        address: tuple[str, int],
        tls: ssl.SSLContext | None,
        handlers: list[evt.EventHandlerType],
        limits: ConnectionLimits,
    ) -> None:
        self.connection_limits = limits
        self._handshakes = threading.BoundedSemaphore(limits.connections)
        super().__init__(
            ae,
            address,
            ae.ae_title,
            ae.supported_contexts,
            tls,
            evt_handlers=handlers,
            request_handler=_Connection,
        )

    def stop_accepting(self) -> None:
        """Close the listening socket; associations go on."""
        socketserver.BaseServer.shutdown(self)
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept, and leave the TLS handshake to the connection's own thread."""
        client, address = cast(socket.socket, self.socket).accept()
        if self.ssl_context is None:
            return client, address
        wrapped = self.ssl_context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        return wrapped, address

    def shake_hands(self, client: ssl.SSLSocket) -> None:
        """OSError if that fails, takes too long, or too many others are at it."""
        if not self._handshakes.acquire(blocking=False):
            raise OSError("expected fewer TLS handshakes at a time")
        try:
            client.settimeout(self.connection_limits.handshake_s)
            client.do_handshake()
        finally:
            self._handshakes.release()

    def verify_request(self, _request: object, client_address: Any) -> bool:
        """Refuse a connection beyond the limit."""
        if len(self.active_associations) < self.connection_limits.connections:
            return True
        LOG.warning("a DICOM connection from %s is refused: too many are open", client_address[0])
        return False

    def handle_error(self, _request: object, client_address: Any) -> None:
        """A connection that broke before there was an association: a port scan, a failed handshake."""
        LOG.warning("a DICOM connection from %s failed before its association", client_address[0])
