"""One request between its messages, over a model that does what a test tells it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from appliance.errors import InferenceFailed, InvalidInput, NotFound
from appliance.inference import Priority, RequestContext
from appliance.models.registry import ModelState
from appliance.pb import open_inference_pb2 as pb
from appliance.rpc.open_inference.calls import InferCalls
from appliance.rpc.open_inference.model import ModelCard, ModelHealth, Outcome, Port, Tensors, Wanted
from appliance.rpc.open_inference.statistics import StatisticsTable
from appliance.rpc.open_inference.wire import read_request
from appliance.shared_memory import OwnRegions, RegionLimits, RegionTable

WAIT_S = 30.0
INT16 = Port("numbers", "INT16", (-1, 2), max_dynamic=4)
FLAG = Port("flag", "BOOL", (1,))


class Doubling:
    """Doubles its numbers where its flag is set; waits for its gate."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.fault: Exception | None = None
        self.contexts: list[RequestContext] = []

    @property
    def health(self) -> ModelHealth:
        return ModelHealth("doubling", "1.0.0", ModelState.READY, "")

    def card(self) -> ModelCard:
        return ModelCard("doubling", "1.0.0", "test", "test", (INT16, FLAG), (INT16,), max_batch=4)

    def infer(self, card: ModelCard, tensors: Tensors, wanted: Wanted, context: RequestContext) -> Outcome:
        assert wanted.request_id in {"", "id"}
        self.contexts.append(context)
        self.begun.set()
        assert self.gate.wait(WAIT_S)
        if self.fault is not None:
            raise self.fault
        numbers = tensors["numbers"] * (2 if tensors["flag"][0] else 1)
        return Outcome(card.version, {"numbers": numbers}, {}, len(numbers), queue_ns=5, infer_ns=7)


@pytest.fixture
def regions(tmp_path: Path) -> Iterator[OwnRegions]:
    (tmp_path / "object").write_bytes(np.arange(32, dtype="<i2").tobytes())
    table = RegionTable(RegionLimits(4, 1 << 20, 4, 1 << 20), tmp_path)
    regions = table.of("somebody")
    regions.register("r", "object", 0, 64)
    yield regions
    table.close()


@pytest.fixture
def statistics() -> StatisticsTable:
    return StatisticsTable()


@pytest.fixture
def calls(regions: OwnRegions, statistics: StatisticsTable) -> Calls:
    return Calls(InferCalls(statistics, max_tensor_bytes=64), regions)


def request(*numbers: int, flag: bytes = b"\1") -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor
    return pb.ModelInferRequest(
        model_name="doubling",
        inputs=[
            tensor(name="flag", datatype="BOOL", shape=[1]),
            tensor(name="numbers", datatype="INT16", shape=[len(numbers) // 2, 2]),
        ],
        raw_input_contents=[flag, np.array(numbers, "<i2").tobytes()],
    )


@dataclass(frozen=True)
class Calls:
    """Calls of one caller."""

    calls: InferCalls
    regions: OwnRegions


def ask(
    calls: Calls, model: Doubling, message: pb.ModelInferRequest, context: RequestContext
) -> pb.ModelInferResponse:
    """As over the wire."""
    request = read_request(message.SerializeToString())
    response = calls.calls.answer(model, request, context, calls.regions)
    return pb.ModelInferResponse.FromString(response.to_bytes())


def place(message: pb.ModelInferRequest, size: int, offset: int) -> pb.ModelInferRequest:
    """The same request with its output in region r."""
    wanted = message.outputs.add(name="numbers")
    wanted.parameters["shared_memory_region"].string_param = "r"
    wanted.parameters["shared_memory_byte_size"].uint64_param = size
    wanted.parameters["shared_memory_offset"].uint64_param = offset
    return message


def numbers_of(response: pb.ModelInferResponse) -> list[int]:
    return [int(number) for number in np.frombuffer(response.raw_output_contents[0], "<i2")]


def test_raw_contents_belong_to_the_inputs_in_the_order_of_the_request(calls: Calls) -> None:
    assert numbers_of(ask(calls, Doubling(), request(1, 2, -3, 4), RequestContext())) == [2, 4, -6, 8]
    assert numbers_of(ask(calls, Doubling(), request(1, 2, flag=b"\0"), RequestContext())) == [1, 2]


def test_a_flag_is_nought_or_one(calls: Calls) -> None:
    with pytest.raises(InvalidInput, match="expected bytes of 0 or 1 for BOOL and got 7"):
        ask(calls, Doubling(), request(1, 2, flag=b"\7"), RequestContext())


def test_typed_numbers_beyond_their_datatype(calls: Calls) -> None:
    message = request(1, 2)
    del message.raw_input_contents[:]
    message.inputs[0].contents.bool_contents.append(True)
    message.inputs[1].contents.int_contents.extend([1, 40000])
    with pytest.raises(InvalidInput, match=r"from -32768 to 32767 and got 1 to 40000"):
        ask(calls, Doubling(), message, RequestContext())
    message.inputs[1].contents.int_contents[:] = [-16384, 5]
    assert numbers_of(ask(calls, Doubling(), message, RequestContext())) == [-32768, 10]


def test_an_unregistered_region_is_kept_for_the_request_under_way(
    calls: Calls, regions: OwnRegions, tmp_path: Path
) -> None:
    model = Doubling()
    model.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, calls, model, place(request(5, 6), 4, 8), RequestContext())
        assert model.begun.wait(WAIT_S)
        regions.unregister_all()
        assert regions.infos() == ()
        model.gate.set()
        response = answer.result(WAIT_S)
    assert response.outputs[0].parameters["shared_memory_byte_size"].int64_param == 4
    assert list(response.raw_output_contents) == [b""]
    assert np.frombuffer((tmp_path / "object").read_bytes(), "<i2")[3:7].tolist() == [3, 10, 12, 6]
    with pytest.raises(NotFound):
        ask(calls, model, place(request(5, 6), 4, 8), RequestContext())


def test_an_output_larger_than_its_place(calls: Calls, tmp_path: Path) -> None:
    before = (tmp_path / "object").read_bytes()
    with pytest.raises(InvalidInput, match="expected room for 4 bytes in shared memory and got 2"):
        ask(calls, Doubling(), place(request(5, 6), 2, 0), RequestContext())
    model = Doubling()
    with pytest.raises(InvalidInput, match="expected a place inside the 64 bytes"):
        ask(calls, model, place(request(5, 6), 4, 62), RequestContext())
    assert not model.contexts, "a wrong place is refused before the work"
    assert (tmp_path / "object").read_bytes() == before


def test_the_place_in_the_queue_and_the_time_limit(calls: Calls) -> None:
    model = Doubling()
    for level in (0, 1, 2, 3, 99):
        message = request(1, 2)
        message.parameters["priority"].uint64_param = level
        ask(calls, model, message, RequestContext(priority=Priority.ROUTINE))
    assert [context.priority for context in model.contexts] == [
        Priority.ROUTINE,
        Priority.INTERACTIVE,
        Priority.ROUTINE,
        Priority.BATCH,
        Priority.BACKGROUND,
    ]
    message = request(1, 2)
    message.parameters["timeout"].int64_param = 30_000_000
    ask(calls, model, message, RequestContext())
    assert 0 < model.contexts[-1].deadline.remaining_s() <= 30


def test_what_is_counted(calls: Calls, statistics: StatisticsTable) -> None:
    model = Doubling()
    ask(calls, model, request(1, 2, 3, 4), RequestContext())
    ask(calls, model, request(1, 2), RequestContext())
    model.fault = InferenceFailed("broken")
    with pytest.raises(InferenceFailed):
        ask(calls, model, request(1, 2), RequestContext())
    counted = statistics.write("doubling", "1.0.0")
    assert (counted.inference_count, counted.execution_count) == (3, 2)
    assert counted.last_inference > 0
    stats = counted.inference_stats
    assert (stats.success.count, stats.fail.count) == (2, 1)
    assert (stats.queue.ns, stats.compute_infer.ns) == (10, 14)
    assert stats.success.ns >= stats.compute_input.ns + stats.compute_output.ns
    assert [(batch.batch_size, batch.compute_infer.count) for batch in counted.batch_stats] == [
        (1, 1),
        (2, 1),
    ]


def test_a_single_response_of_a_stream_is_the_final_one(calls: Calls) -> None:
    parsed = read_request(request(1, 2).SerializeToString())
    (response,) = calls.calls.stream(Doubling(), parsed, RequestContext(), calls.regions)
    assert response.head.parameters["triton_final_response"].bool_param
