"""ResultService over the wire: single results, pages, and watching."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from appliance.clock import ManualClock
from appliance.pb import analysis_pb2
from appliance.pb.result_pb2 import GetResultRequest, ListResultsRequest, WatchResultsRequest
from tests.rpc.conftest import Wire, connect
from tests.simulators.analyses import film_analysis, metaphase_analysis
from tests.simulators.appliance import LIMITS, Bench

WAIT_S = 30.0


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Wire]:
    """Five spreads and two films."""
    clock = ManualClock(now_ms=1_790_000_000_000)
    with Bench(tmp_path) as bench:
        for index in range(7):
            clock.advance(60.0)
            bench.store.commit(film_analysis(clock) if index % 3 == 2 else metaphase_analysis(clock))
        wire = connect(bench, bench.serve())
        yield wire
        wire.channel.close()


def code_of(error: pytest.ExceptionInfo[grpc.RpcError]) -> grpc.StatusCode:
    assert isinstance(error.value, grpc.Call)
    return error.value.code()


def test_one_result(filled: Wire) -> None:
    newest = filled.results.ListResults(ListResultsRequest(page_size=1), timeout=WAIT_S).results[0]
    request = GetResultRequest(result_id=newest.result_id)
    result = filled.results.GetResult(request, timeout=WAIT_S).result
    assert result.result_id == newest.result_id
    assert result.created == newest.created
    assert result.notice


def test_an_unknown_result(filled: Wire) -> None:
    with pytest.raises(grpc.RpcError) as error:
        filled.results.GetResult(GetResultRequest(result_id="nothing"), timeout=WAIT_S)
    assert code_of(error) is grpc.StatusCode.NOT_FOUND


def test_pages_follow_each_other(filled: Wire) -> None:
    sizes, seen, token = [], [], ""
    while True:
        request = ListResultsRequest(page_size=3, page_token=token)
        page = filled.results.ListResults(request, timeout=WAIT_S)
        sizes.append(len(page.results))
        seen += [one.created.ToMilliseconds() for one in page.results]
        token = page.next_page_token
        if not token:
            break
    assert sizes == [3, 3, 1]
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 7


def test_pages_of_films(filled: Wire) -> None:
    request = ListResultsRequest(modality=analysis_pb2.MODALITY_CHEST_XRAY)
    page = filled.results.ListResults(request, timeout=WAIT_S)
    assert [one.headline for one in page.results] == ["Cardiomegaly"] * 2
    assert page.next_page_token == ""


@pytest.mark.parametrize(
    "request_",
    [
        ListResultsRequest(page_size=501),
        ListResultsRequest(page_token="nonsense"),
        ListResultsRequest(page_token="W10="),
        ListResultsRequest(page_token="é"),
        ListResultsRequest(modality=77),  # type: ignore[arg-type]
    ],
)
def test_a_page_that_cannot_be(filled: Wire, request_: ListResultsRequest) -> None:
    with pytest.raises(grpc.RpcError) as error:
        filled.results.ListResults(request_, timeout=WAIT_S)
    assert code_of(error) is grpc.StatusCode.INVALID_ARGUMENT


def test_watching_gives_what_was_and_what_comes(filled: Wire) -> None:
    stream = filled.results.WatchResults(WatchResultsRequest(after_cursor=5), timeout=WAIT_S)
    assert [next(stream).result.cursor for _ in range(2)] == [6, 7]
    clock = ManualClock()
    threading.Thread(target=filled.bench.store.commit, args=(metaphase_analysis(clock),)).start()
    assert next(stream).result.cursor == 8
    stream.cancel()


def test_watching_only_what_is_new(filled: Wire) -> None:
    stream = filled.results.WatchResults(WatchResultsRequest(only_new=True), timeout=WAIT_S)
    other = filled.results.WatchResults(WatchResultsRequest(after_cursor=6), timeout=WAIT_S)
    assert next(other).result.cursor == 7
    answer: list[int] = []
    reader = threading.Thread(target=lambda: answer.append(next(stream).result.cursor))
    reader.start()
    clock = ManualClock()
    while reader.is_alive():  # the stream may not have begun at the first commit
        filled.bench.store.commit(metaphase_analysis(clock))
        reader.join(0.05)
    assert answer[0] >= 8
    stream.cancel()
    other.cancel()


def test_watching_says_either_cursor_or_new(filled: Wire) -> None:
    with pytest.raises(grpc.RpcError) as error:
        next(filled.results.WatchResults(WatchResultsRequest(after_cursor=1, only_new=True), timeout=WAIT_S))
    assert code_of(error) is grpc.StatusCode.INVALID_ARGUMENT


def test_watchers_are_few_and_leave_room(filled: Wire) -> None:
    streams = [
        filled.results.WatchResults(WatchResultsRequest(after_cursor=6), timeout=WAIT_S)
        for _ in range(LIMITS.max_watchers)
    ]
    assert [next(stream).result.cursor for stream in streams] == [7] * LIMITS.max_watchers
    with pytest.raises(grpc.RpcError) as error:
        next(filled.results.WatchResults(WatchResultsRequest(), timeout=WAIT_S))
    assert code_of(error) is grpc.StatusCode.RESOURCE_EXHAUSTED
    for stream in streams:
        stream.cancel()
    pause = threading.Event()
    for _ in range(200):  # a watcher who has hung up gives the place back within a second
        again = filled.results.WatchResults(WatchResultsRequest(after_cursor=6), timeout=WAIT_S)
        with contextlib.suppress(grpc.RpcError):
            assert next(again).result.cursor == 7
            return
        pause.wait(0.02)
    pytest.fail("expected a place to be given back and got none")


def test_a_watcher_hears_that_the_daemon_stops(filled: Wire) -> None:
    stream = filled.results.WatchResults(WatchResultsRequest(after_cursor=6), timeout=WAIT_S)
    next(stream)
    filled.bench.store.dismiss_watchers()
    with pytest.raises(grpc.RpcError) as error:
        next(stream)
    assert code_of(error) is grpc.StatusCode.UNAVAILABLE
