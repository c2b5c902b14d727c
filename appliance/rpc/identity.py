"""From a call to its caller: the token that it carries, else the kind of address that it comes from.

Client certificates will be a third way in; whatever proves a caller, the answer is the same `Caller`.
"""

from __future__ import annotations

import ipaddress
import urllib.parse
from collections.abc import Iterable, Sequence
from typing import Any

import grpc

from appliance.callers import Caller, CallerRole, TokenFile
from appliance.errors import NotAuthenticated

AUTHORIZATION = "authorization"
SCHEME = "bearer "
MAX_TOKEN_CHARACTERS = 512
LOCAL_SOCKET = "the local socket"


class Identities:
    """Tells who calls.

    Args:
        tokens: the tokens of this box.
        local_roles: of callers without a token over a Unix socket or loopback.
        remote_roles: of callers without a token from elsewhere.
    """

    def __init__(
        self, tokens: TokenFile, local_roles: Iterable[CallerRole], remote_roles: Iterable[CallerRole]
    ) -> None:
        self._tokens = tokens
        self._local_roles = frozenset(local_roles)
        self._remote_roles = frozenset(remote_roles)

    def of(self, context: grpc.ServicerContext) -> Caller:
        """The caller of a call.

        Raises:
            NotAuthenticated: it carries something that is no token of this box; a wrong token is never
                taken for none.
            StorageUnavailable: the tokens cannot be read.
        """
        return self.identify(context.invocation_metadata() or (), str(context.peer()))

    def identify(self, metadata: Sequence[Any], peer: str) -> Caller:
        """The same from metadata and gRPC's name of the other end."""
        given = [str(value) for key, value in metadata if key == AUTHORIZATION]
        if given:
            return self._by_token(given)
        host, local = read_peer(peer)
        return Caller(host, self._local_roles if local else self._remote_roles)

    def _by_token(self, given: list[str]) -> Caller:
        value = given[0]
        if len(given) > 1 or not value.lower().startswith(SCHEME) or len(value) > MAX_TOKEN_CHARACTERS:
            raise NotAuthenticated('expected "authorization: Bearer TOKEN", once, and got something else')
        entry = self._tokens.find(value[len(SCHEME) :].strip())
        if entry is None:
            raise NotAuthenticated("expected a token of this box and got one that it does not know")
        return Caller(f"token {entry.name}", entry.roles)


def read_peer(peer: str) -> tuple[str, bool]:
    """The other end's host without its port, and whether it is this machine.

    Args:
        peer: as gRPC names it: `unix:`, `ipv4:127.0.0.1:4711` or `ipv6:%5B::1%5D:4711`.
    """
    kind, _, rest = peer.partition(":")
    if kind == "unix":
        return LOCAL_SOCKET, True
    host = urllib.parse.unquote(rest).rpartition(":")[0].strip("[]")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return peer, False
    inside = getattr(address, "ipv4_mapped", None)  # ::ffff:127.0.0.1 is 127.0.0.1
    return str(inside or address), bool((inside or address).is_loopback)
