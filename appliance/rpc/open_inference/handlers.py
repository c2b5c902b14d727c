"""The calls of the Open Inference Protocol as gRPC gets them: those with tensors take and give bytes."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass

from appliance.pb import open_inference_pb2, open_inference_pb2_grpc

SERVICE = open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
IN_BYTES = frozenset({"ModelInfer", "ModelStreamInfer"})
"""Calls whose servicer reads and writes messages itself (`appliance.rpc.open_inference.wire`)."""


def add_open_inference(
    servicer: open_inference_pb2_grpc.GRPCInferenceServiceServicer, server: grpc.Server
) -> None:
    """Put the service on the wire; the generated function would have protobuf parse every tensor."""
    handlers = {method.name: _handler(method, getattr(servicer, method.name)) for method in SERVICE.methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, handlers),))
    server.add_registered_method_handlers(SERVICE.full_name, handlers)


def _handler(method: Any, behavior: Any) -> Any:
    make = (
        grpc.stream_stream_rpc_method_handler
        if method.client_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    if method.name in IN_BYTES:
        return make(behavior)
    return make(
        behavior,
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )
