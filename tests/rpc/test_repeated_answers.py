"""Kept answers as callers see them: a daemon of its own that was told to keep them, packs of a few nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from appliance.client import ApplianceClient, LocalDaemon
from appliance.pb import open_inference_pb2 as pb
from appliance.pb.chest_xray_pb2 import AnalyzeChestXrayRequest
from appliance.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub
from tests.simulators.appliance import film_png
from tests.simulators.contract_packs import write_packs

WAIT_S = 60.0


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalDaemon]:
    folder = tmp_path_factory.mktemp("packs")
    settings = folder / "appliance.toml"
    settings.write_text(f'[models]\ndirectory = "{write_packs(folder / "packs")}"\n[repeats]\nmax_mib = 16\n')
    with (
        LocalDaemon(("--config", str(settings))) as daemon,
        ApplianceClient(daemon.address) as client,
    ):
        assert daemon.wait_until_started(client).ready
        yield daemon


@pytest.fixture(scope="module")
def stub(daemon: LocalDaemon) -> Iterator[GRPCInferenceServiceStub]:
    with grpc.insecure_channel(daemon.address) as channel:
        yield GRPCInferenceServiceStub(channel)


def classifier_of(stub: GRPCInferenceServiceStub) -> str:
    for model in stub.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=WAIT_S).models:
        metadata = stub.ModelMetadata(pb.ModelMetadataRequest(name=model.name), timeout=WAIT_S)
        if any(one.name == "crops" for one in metadata.inputs):
            return model.name
    raise AssertionError("expected a classifier among the models")


def test_a_film_that_comes_again(daemon: LocalDaemon) -> None:
    with ApplianceClient(daemon.address) as client:
        request = AnalyzeChestXrayRequest(encoded=film_png(), request_id="again")
        first, again = (client.analyze_chest_film(request, WAIT_S) for _ in range(2))
        assert first.repeat_of == ""
        assert again.repeat_of == first.result_id
        assert again.film == first.film
        stored = client.get_result(again.result_id)
    assert (stored.repeat_of, stored.request_id, stored.film) == (first.result_id, "again", first.film)
    assert stored.created.ToNanoseconds() >= first.created.ToNanoseconds()


def test_an_image_over_the_open_inference_protocol(stub: GRPCInferenceServiceStub) -> None:
    image = film_png() + b"\0"  # another file than above
    request = pb.ModelInferRequest(
        model_name="chest_xray",
        inputs=[pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])],
        raw_input_contents=[len(image).to_bytes(4, "little") + image],
    )
    first, again = (stub.ModelInfer(request, timeout=WAIT_S) for _ in range(2))
    assert "from_cache" not in first.parameters
    assert again.parameters["from_cache"].bool_param
    ids = [json.loads(one.raw_output_contents[0][4:]) for one in (first, again)]
    assert ids[1]["repeatOf"] == ids[0]["resultId"]


def test_tensors_that_come_again(stub: GRPCInferenceServiceStub) -> None:
    crops = np.random.default_rng(7).random((3, 1, 128, 96), np.float32)
    name = classifier_of(stub)
    request = pb.ModelInferRequest(
        model_name=name,
        inputs=[pb.ModelInferRequest.InferInputTensor(name="crops", datatype="FP32", shape=crops.shape)],
        raw_input_contents=[crops.tobytes()],
    )
    first, again = (stub.ModelInfer(request, timeout=WAIT_S) for _ in range(2))
    assert not first.parameters["from_cache"].bool_param
    assert again.parameters["from_cache"].bool_param
    assert again.raw_output_contents == first.raw_output_contents
    (counted,) = stub.ModelStatistics(pb.ModelStatisticsRequest(name=name), timeout=WAIT_S).model_stats
    stats = counted.inference_stats
    assert (stats.success.count, stats.cache_hit.count, stats.cache_miss.count) == (2, 1, 1)
    assert (counted.execution_count, counted.inference_count) == (1, 3)
