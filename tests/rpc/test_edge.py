from __future__ import annotations

import pytest

from appliance.errors import LimitExceeded, NotFound
from appliance.rpc.edge import Edge, caller_of

PEER = "ipv4:127.0.0.1:4711"


class Context:
    """As much of gRPC's as tells who calls."""

    def __init__(self, *metadata: tuple[str, str]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def peer(self) -> str:
        return PEER


def caller(*metadata: tuple[str, str]) -> str:
    return caller_of(Context(*metadata))  # type: ignore[arg-type]


def test_without_any_name_the_connection_takes_its_turn() -> None:
    assert caller() == PEER
    assert caller(("client-id", "")) == PEER


def test_a_name_of_its_own_holds_over_all_its_connections() -> None:
    assert caller(("client-id", "scanner 2")) == "scanner 2"
    assert len(caller(("client-id", "x" * 1000))) == 64


@pytest.mark.parametrize("name", ["", "one", "another"])
def test_who_shows_a_token_cannot_take_more_turns_under_more_names(name: str) -> None:
    token = ("authorization", "Bearer secret")
    assert caller(token, ("client-id", name)) == caller(token)
    assert "secret" not in caller(token)
    assert caller(token) != caller(("authorization", "Bearer other"))


def test_in_a_stream_the_sentence_says_when_to_try_again() -> None:
    edge = Edge(1.0)
    assert edge.explain(LimitExceeded("full", 0.2)) == "LIMIT_EXCEEDED: full; try again in 200 ms"
    assert edge.explain(NotFound("nothing")) == "NOT_FOUND: nothing"
