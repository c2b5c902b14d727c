"""One inference request from message to message: read, infer, write, count."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

from appliance.errors import InvalidInput
from appliance.inference import RequestContext
from appliance.rpc.open_inference.model import ServedModel, Wanted
from appliance.rpc.open_inference.parameters import read_parameters, read_patience
from appliance.rpc.open_inference.pipeline_models import PROGRESS, PipelineModel, flag
from appliance.rpc.open_inference.reading import read_tensors
from appliance.rpc.open_inference.statistics import StatisticsTable
from appliance.rpc.open_inference.wire import InferRequest, InferResponse
from appliance.rpc.open_inference.writing import Delivery, read_deliveries, write_response
from appliance.shared_memory import OwnRegions

FINAL = "triton_final_response"
"""In a stream: whether this is the last response to its request."""


class InferCalls:
    """Answers requests.

    Args:
        statistics: counts.
        max_tensor_bytes: most bytes of one input in shared memory; the server bounds the others.
    """

    def __init__(self, statistics: StatisticsTable, max_tensor_bytes: int) -> None:
        self._statistics = statistics
        self._max_tensor_bytes = max_tensor_bytes

    def answer(
        self, model: ServedModel, request: InferRequest, context: RequestContext, regions: OwnRegions
    ) -> InferResponse:
        """The response to a request.

        Args:
            model: who answers.
            request: as it came.
            context: deadline, cancellation and priority.
            regions: the caller's shared memory.

        Raises:
            InvalidInput, NotFound, NotOffered: the request is wrong.
            Unavailable, LimitExceeded, DeadlineExceeded, Cancelled, InferenceFailed: no answer this time.
        """
        ((response, _final),) = self._responses(model, request, context, regions, in_stages=False)
        return response

    def stream(
        self, model: ServedModel, request: InferRequest, context: RequestContext, regions: OwnRegions
    ) -> Iterator[InferResponse]:
        """The responses to a request of a stream, the last one marked; errors as for `answer`."""
        for response, final in self._responses(model, request, context, regions, in_stages=True):
            response.head.parameters[FINAL].bool_param = final
            yield response

    def _responses(
        self,
        model: ServedModel,
        request: InferRequest,
        context: RequestContext,
        regions: OwnRegions,
        *,
        in_stages: bool,
    ) -> Iterator[tuple[InferResponse, bool]]:
        began_ns = time.perf_counter_ns()
        card = model.card()
        try:
            with ExitStack() as held:
                parameters = read_parameters(request.head.parameters)
                patience = read_patience(parameters, context)
                wanted = Wanted(request.head.id, parameters)
                deliveries = read_deliveries(request.head, card, regions, held)
                tensors = read_tensors(request, card, regions, self._max_tensor_bytes)
                read_ns = time.perf_counter_ns() - began_ns
                if in_stages and isinstance(model, PipelineModel) and flag(wanted, PROGRESS):
                    _check_progress(deliveries)
                    told = model.infer_in_stages(tensors, wanted, patience)
                else:
                    told = iter([(model.infer(card, tensors, wanted, patience), True)])
                for outcome, final in told:
                    inferred_ns = time.perf_counter_ns()
                    response = write_response(request.head.id, card, outcome, deliveries)
                    if final:
                        now_ns = time.perf_counter_ns()
                        self._statistics.answered(
                            card.name, outcome, read_ns, now_ns - inferred_ns, now_ns - began_ns
                        )
                    yield response, final
        except Exception:
            self._statistics.failed(card.name, card.version, time.perf_counter_ns() - began_ns)
            raise


def _check_progress(deliveries: tuple[Delivery, ...]) -> None:
    if any(delivery.place is not None for delivery in deliveries):
        raise InvalidInput(
            "expected no output in shared memory with progress, where each response would overwrite the one"
            " before, and got one"
        )
