"""DICOM application entities as people write them: TITLE, HOST:PORT, TITLE@HOST:PORT."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_TITLE_CHARACTERS = 16
_HOST_AND_PORT = re.compile(r"^(\[[0-9A-Fa-f:.%]+\]|[^\s:/@]+):([0-9]{1,5})$")


@dataclass(frozen=True)
class TcpAddress:
    """Where one listens."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class ApplicationEntity:
    """Who to call, and where."""

    ae_title: str
    address: TcpAddress

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.address}"


def parse_ae_title(text: str) -> str:
    """An AE title (PS3.5, 6.2, VR AE); ValueError for another text."""
    title = text.strip(" ")
    if (
        not 0 < len(title) <= MAX_TITLE_CHARACTERS
        or not (title.isascii() and title.isprintable())
        or "\\" in title
    ):
        raise ValueError(
            f"expected an AE title of 1 to {MAX_TITLE_CHARACTERS} ASCII characters without a backslash"
            f" and got {text!r}"
        )
    return title


def parse_tcp_address(text: str) -> TcpAddress:
    """HOST:PORT; ValueError for another text."""
    match = _HOST_AND_PORT.match(text)
    if match is None or int(match.group(2)) > 65535:
        raise ValueError(f"expected HOST:PORT with a port up to 65535 and got {text!r}")
    return TcpAddress(match.group(1).strip("[]"), int(match.group(2)))


def parse_application_entity(text: str) -> ApplicationEntity:
    """TITLE@HOST:PORT; ValueError for another text."""
    title, mark, address = text.rpartition("@")
    if not mark:
        raise ValueError(f"expected AE_TITLE@HOST:PORT and got {text!r}")
    return ApplicationEntity(parse_ae_title(title), parse_tcp_address(address))
