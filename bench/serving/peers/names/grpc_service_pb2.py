"""tritonclient's messages under the module name that they were generated with: Ray pickles them by it."""

from tritonclient.grpc.service_pb2 import ModelInferRequest, ModelInferResponse

__all__ = ["ModelInferRequest", "ModelInferResponse"]
