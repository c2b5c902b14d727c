"""A DICOM archive of a few lines: takes structured reports, or refuses, or is away, as a test wants."""

from __future__ import annotations

import queue
import socket
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import ComprehensiveSRStorage  # type: ignore[attr-defined]

from appliance.application_entity import ApplicationEntity, TcpAddress

WAIT_S = 20.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Archive:
    """Listens on a port of its own from `open` to `close`; may be opened again."""

    def __init__(self) -> None:
        self.entity = ApplicationEntity("ARCHIVE", TcpAddress("127.0.0.1", free_port()))
        self.status = 0x0000
        self.reports: queue.Queue[Dataset] = queue.Queue()
        self.offered: queue.Queue[int] = queue.Queue()
        self._server: Any = None

    def open(self) -> Archive:
        ae = AE(ae_title=self.entity.ae_title)
        ae.add_supported_context(ComprehensiveSRStorage)
        self._server = ae.start_server(
            ("127.0.0.1", self.entity.address.port),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, self._on_store)],
        )
        return self

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def next_report(self) -> Dataset:
        return self.reports.get(timeout=WAIT_S)

    def _on_store(self, event: evt.Event) -> int:
        self.offered.put(self.status)
        if self.status == 0x0000:
            self.reports.put(event.dataset)
        return self.status
