"""What models and regions say about themselves, as messages."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.pb import model_config_pb2
from appliance.pb import open_inference_pb2 as pb
from appliance.rpc.open_inference.model import BYTES, SERVED_VERSION, ModelCard, ModelHealth, Port
from appliance.shared_memory import RegionInfo

TYPES = {
    name: model_config_pb2.DataType.Value(f"TYPE_{'STRING' if name == BYTES else name}")
    for name in (
        *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
        *("FP16", "FP32", "FP64", BYTES),
    )
}


def write_metadata(card: ModelCard) -> pb.ModelMetadataResponse:
    """Inputs and outputs, the batch included."""

    def tensors(ports: Iterable[Port]) -> list[pb.ModelMetadataResponse.TensorMetadata]:
        return [
            pb.ModelMetadataResponse.TensorMetadata(name=one.name, datatype=one.datatype, shape=one.shape)
            for one in ports
        ]

    return pb.ModelMetadataResponse(
        name=card.name,
        versions=[SERVED_VERSION],
        platform=card.platform,
        inputs=tensors(card.inputs),
        outputs=tensors(card.outputs),
    )


def write_config(card: ModelCard) -> model_config_pb2.ModelConfig:
    """The set-up; where there is a batch the dimensions go without it."""
    first = 1 if card.max_batch else 0
    group = model_config_pb2.ModelInstanceGroup
    return model_config_pb2.ModelConfig(
        name=card.name,
        platform=card.platform,
        backend=card.backend,
        version_policy=model_config_pb2.ModelVersionPolicy(
            latest=model_config_pb2.ModelVersionPolicy.Latest(num_versions=1)
        ),
        max_batch_size=card.max_batch,
        input=[
            model_config_pb2.ModelInput(
                name=port.name, data_type=TYPES[port.datatype], dims=port.shape[first:]
            )
            for port in card.inputs
        ],
        output=[
            model_config_pb2.ModelOutput(
                name=port.name, data_type=TYPES[port.datatype], dims=port.shape[first:]
            )
            for port in card.outputs
        ],
        instance_group=[
            group(name=f"{card.name}_0", kind=group.KIND_GPU if card.on_gpu else group.KIND_CPU, count=1)
        ],
        default_model_filename=card.model_file,
        parameters={
            name: model_config_pb2.ModelParameter(string_value=value) for name, value in card.facts.items()
        },
        model_transaction_policy=model_config_pb2.ModelTransactionPolicy(decoupled=False),
    )


def write_index(models: Iterable[ModelHealth]) -> pb.RepositoryIndexResponse:
    """Which models there are and how they stand."""
    return pb.RepositoryIndexResponse(
        models=[
            pb.RepositoryIndexResponse.ModelIndex(
                name=one.name,
                version=SERVED_VERSION if one.version else "",
                state=one.state.name,
                reason=one.reason,
            )
            for one in models
        ]
    )


def write_regions(infos: Iterable[RegionInfo]) -> pb.SystemSharedMemoryStatusResponse:
    """Regions by name."""
    return pb.SystemSharedMemoryStatusResponse(
        regions={
            info.name: pb.SystemSharedMemoryStatusResponse.RegionStatus(
                name=info.name, key=info.key, offset=info.offset, byte_size=info.size_bytes
            )
            for info in infos
        }
    )
