"""MLServer: a custom runtime."""

from __future__ import annotations

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from bench.serving.peers.handler import load, payload


class Runtime(MLModel):
    """The names are MLServer's."""

    async def load(self) -> bool:
        self._answer, self._payload = load(), payload()
        return True

    async def predict(self, request: InferenceRequest) -> InferenceResponse:
        one = request.inputs[0]
        if self._payload.is_file:
            data = one.data.root if hasattr(one.data, "root") else one.data
            tensor = np.array([data[0] if isinstance(data, list) else data], dtype=object)
        else:
            tensor = NumpyCodec.decode_input(one)
        names = [name for name, _datatype, _shape in self._payload.outputs]
        arrays = self._answer(tensor)
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                NumpyCodec.encode_output(name=name, payload=array)
                for name, array in zip(names, arrays, strict=True)
            ],
        )
