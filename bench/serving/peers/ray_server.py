"""Ray Serve behind its gRPC proxy, which takes any servicer: here that of the stock client's own protocol."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import ray
from ray import serve
from ray.serve.config import HTTPOptions, gRPCOptions
from tritonclient.grpc import service_pb2

from bench.serving.peers.handler import instances, load, payload, port

DTYPES = {"FP32": np.float32, "UINT8": np.uint8}
LENGTH_BYTES = 4


class Model:
    """The name of the method is the protocol's."""

    def __init__(self) -> None:
        self._answer, self._payload = load(), payload()

    def ModelInfer(self, request: Any) -> Any:  # noqa: N802
        raw = request.raw_input_contents[0]
        if self._payload.is_file:
            tensor = np.array([raw[LENGTH_BYTES:]], dtype=object)
        else:
            shape = tuple(request.inputs[0].shape)
            tensor = np.frombuffer(raw, DTYPES[self._payload.datatype]).reshape(shape)
        response = service_pb2.ModelInferResponse(model_name=request.model_name, id=request.id)
        for (name, datatype, _shape), array in zip(self._payload.outputs, self._answer(tensor), strict=True):
            response.outputs.add(name=name, datatype=datatype, shape=array.shape)
            response.raw_output_contents.append(array.tobytes())
        return response


def main() -> None:
    ray.init(include_dashboard=False, configure_logging=True, num_cpus=2)
    serve.start(
        http_options=HTTPOptions(host="127.0.0.1", port=port() + 1),
        grpc_options=gRPCOptions(
            port=port(),
            grpc_servicer_functions=[
                "tritonclient.grpc.service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server"
            ],
        ),
    )
    deployed = serve.deployment(
        Model, num_replicas=instances(), max_ongoing_requests=64, ray_actor_options={"num_cpus": 0}
    )
    serve.run(deployed.bind())
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
