"""PyTriton: Triton in front, the handler in this process."""

from __future__ import annotations

from typing import Any

import numpy as np
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from bench.serving.payloads import PEER_MODEL
from bench.serving.peers.handler import Handler, instances, load, payload, port

DTYPES = {"FP32": np.float32, "UINT8": np.uint8, "BYTES": bytes}


def infer_with(answer: Handler) -> Any:
    """A function as PyTriton calls it."""
    asked = payload()
    names = [name for name, _datatype, _shape in asked.outputs]

    def infer(requests: list[Any]) -> list[dict[str, Any]]:
        return [dict(zip(names, answer(one[asked.input_name]), strict=True)) for one in requests]

    return infer


def main() -> None:
    asked = payload()
    settings = TritonConfig(
        grpc_port=port(), http_port=port() + 1, metrics_port=port() + 2, allow_metrics=False
    )
    with Triton(config=settings) as server:
        server.bind(
            model_name=PEER_MODEL,
            infer_func=[infer_with(load()) for _ in range(instances())],
            inputs=[Tensor(name=asked.input_name, dtype=DTYPES[asked.datatype], shape=asked.shape)],
            outputs=[
                Tensor(name=name, dtype=DTYPES[datatype], shape=shape)
                for name, datatype, shape in asked.outputs
            ],
            config=ModelConfig(batching=False),
        )
        server.serve()


if __name__ == "__main__":
    main()
