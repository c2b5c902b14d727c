"""Triton's Python backend: `model.py` of a model repository."""

from __future__ import annotations

from typing import Any

import triton_python_backend_utils as triton

from bench.serving.peers.handler import load, payload


class TritonPythonModel:
    """The names are the backend's."""

    def initialize(self, _arguments: dict[str, str]) -> None:
        self._answer, self._payload = load(), payload()

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._one(request) for request in requests]

    def _one(self, request: Any) -> Any:
        tensor = triton.get_input_tensor_by_name(request, self._payload.input_name).as_numpy()
        names = [name for name, _datatype, _shape in self._payload.outputs]
        return triton.InferenceResponse(
            [triton.Tensor(name, array) for name, array in zip(names, self._answer(tensor), strict=True)]
        )
