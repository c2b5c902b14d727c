"""The caller's token, put on every call of a channel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from appliance.errors import ConfigurationError

MAX_TOKEN_BYTES = 512


def read_token(path: Path) -> str:
    """The token in a file; ConfigurationError where there is none, or others may read it."""
    try:
        status = path.stat()
        if status.st_mode & 0o077:
            raise ConfigurationError(f"expected a token file {path} that nobody else may read (mode 0600)")
        text = path.read_bytes()[: MAX_TOKEN_BYTES + 1].decode("ascii").strip()
    except OSError as exc:
        raise ConfigurationError(f"cannot read the token file {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"expected a token in {path} and got something else") from exc
    if not text or len(text) > MAX_TOKEN_BYTES or not text.isprintable() or " " in text:
        raise ConfigurationError(f"expected a token in {path} and got something else")
    return text


class WithToken(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Says who calls.

    Args:
        token: as `appliance token add` printed it.
    """

    def __init__(self, token: str) -> None:
        self._metadata = (("authorization", f"Bearer {token}"),)

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """One request, one response."""
        return continuation(self._signed(client_call_details), request)

    def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """One request, many responses."""
        return continuation(self._signed(client_call_details), request)

    def _signed(self, details: Any) -> Any:
        return details._replace(metadata=(*(details.metadata or ()), *self._metadata))
