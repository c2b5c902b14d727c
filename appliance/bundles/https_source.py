"""Releases over HTTPS: the same folder behind a web server, without redirects and with bounded waits."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from appliance.bundles.source import READ_BYTES
from appliance.errors import InvalidInput, NotFound, SourceUnavailable

GONE = frozenset({403, 404, 410})
"""There is no such file; asking again will not help."""

MIN_TLS = ssl.TLSVersion.TLSv1_2


class HttpsSource:
    """A release directory on a web server.

    Args:
        address: `https://HOST/FOLDER`, without user, query or fragment.
        timeout_s: for connecting, and for each read.
        authorities: PEM file with the certificates that sign the server's; None means the system's.

    Raises:
        InvalidInput: the address is none of these.
        SourceUnavailable: the authorities cannot be read.
    """

    def __init__(self, address: str, timeout_s: float, authorities: Path | None = None) -> None:
        parts = urlsplit(address)
        if parts.scheme != "https" or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise InvalidInput(f"expected https://HOST/FOLDER and got {address!r}")
        self._address = address.rstrip("/")
        try:
            context = ssl.create_default_context(cafile=str(authorities) if authorities is not None else None)
        except (OSError, ssl.SSLError) as exc:
            raise SourceUnavailable(f"cannot read the certificates of {authorities}: {exc}") from exc
        context.minimum_version = MIN_TLS
        self._pool = urllib3.PoolManager(
            ssl_context=context,
            timeout=urllib3.Timeout(connect=timeout_s, read=timeout_s),
            retries=False,  # `RetryingSource` asks again, with its own bounds
            maxsize=2,
        )

    @property
    def name(self) -> str:
        """The address."""
        return self._address

    def stream(self, path: str) -> Iterator[bytes]:
        """See `ReleaseSource.stream`."""
        url = f"{self._address}/{quote(path)}"
        try:
            answer = self._pool.request("GET", url, preload_content=False, redirect=False)
        except HTTPError as exc:
            raise SourceUnavailable(f"cannot reach {self._address}: {type(exc).__name__}") from exc
        try:
            if answer.status in GONE:
                raise NotFound(f"{self._address} has no {path}")
            if answer.status != 200:
                raise SourceUnavailable(f"expected status 200 for {path} and got {answer.status}")
            yield from answer.stream(READ_BYTES, decode_content=False)
        except HTTPError as exc:
            raise SourceUnavailable(f"{path} of {self._address} broke off: {type(exc).__name__}") from exc
        finally:
            # what was not read is not waited for: a reader stops early where data has no end
            answer.close()
            answer.release_conn()
