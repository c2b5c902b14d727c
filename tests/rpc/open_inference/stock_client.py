"""What stock clients do, in a process of their own: their generated messages have the same names as ours.

`python stock_client.py ADDRESS FOLDER CASE…` runs cases against a daemon and prints one JSON object:
case → error or null.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from google.protobuf import descriptor_pb2
from tritonclient.grpc import model_config_pb2, service_pb2
from tritonclient.utils import InferenceServerException, shared_memory

WAIT_S = 60.0
PIXELS = "chest-xray-detector-uint8"
FILM = np.linspace(0, 1, 3 * 640 * 640, dtype=np.float32).reshape(1, 3, 640, 640)
DETECTOR, CLASSIFIER = "chest-xray-detector", "karyotype-classifier"


class Scene:
    """A client and what to send."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.client = triton.InferenceServerClient(address)
        self.interface = (folder / "interface.pb").read_bytes()
        self.film_png = (folder / "film.png").read_bytes()
        self.spread_png = (folder / "spread.png").read_bytes()


def film_input() -> Any:
    tensor = triton.InferInput("images", FILM.shape, "FP32")
    tensor.set_data_from_numpy(FILM)
    return tensor


def image_input(data: bytes) -> Any:
    tensor = triton.InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([data], dtype=object))
    return tensor


def crops_input(count: int) -> Any:
    tensor = triton.InferInput("crops", [count, 1, 128, 96], "FP32")
    tensor.set_data_from_numpy(np.full((count, 1, 128, 96), 0.25, np.float32))
    return tensor


def refusal(call: Callable[[], Any]) -> InferenceServerException:
    try:
        call()
    except InferenceServerException as error:
        return error
    raise AssertionError("expected a refusal and got an answer")


def as_json(result: Any) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(result.as_numpy("result")[0])
    return tree


def fields(message: descriptor_pb2.DescriptorProto) -> dict[int, tuple[Any, ...]]:
    return {one.number: (one.name, one.type, one.label, one.type_name) for one in message.field}


def all_messages(
    file: descriptor_pb2.FileDescriptorProto | descriptor_pb2.DescriptorProto, path: str = ""
) -> dict[str, descriptor_pb2.DescriptorProto]:
    whole = isinstance(file, descriptor_pb2.FileDescriptorProto)
    found = {}
    for one in file.message_type if whole else file.nested_type:
        name = f"{path}.{one.name}"
        found |= {name: one} | all_messages(one, name)
    return found


def described(module: Any) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    return file


def case_the_interface_is_the_public_one(scene: Scene) -> None:
    our_config, ours = descriptor_pb2.FileDescriptorSet.FromString(scene.interface).file
    theirs = described(service_pb2)
    assert ours.package == theirs.package

    def methods(file: descriptor_pb2.FileDescriptorProto) -> list[tuple[Any, ...]]:
        (service,) = file.service
        return sorted(
            (service.name, m.name, m.input_type, m.output_type, m.client_streaming, m.server_streaming)
            for m in service.method
        )

    assert methods(ours) == methods(theirs)
    our_messages, their_messages = all_messages(ours), all_messages(theirs)
    assert our_messages.keys() == their_messages.keys()
    for name, message in our_messages.items():
        assert fields(message) == fields(their_messages[name]), name
    config = described(model_config_pb2)  # of this file we need a part only
    their_messages = all_messages(config)
    for name, message in all_messages(our_config).items():
        public = fields(their_messages[name])
        assert fields(message).items() <= public.items(), name
        kept_free = {n for one in message.reserved_range for n in range(one.start, one.end)}
        assert kept_free == public.keys() - fields(message).keys(), name
    values = {(e.name, v.name, v.number) for e in config.enum_type for v in e.value}
    assert {(e.name, v.name, v.number) for e in our_config.enum_type for v in e.value} == values


def case_health(scene: Scene) -> None:
    client = scene.client
    assert client.is_server_live()
    assert client.is_server_ready()
    for name in (DETECTOR, CLASSIFIER, "karyotype", "chest_xray", "karyotype-segmenter"):
        assert client.is_model_ready(name)
    assert all(client.is_model_ready(DETECTOR, version) for version in ("1", "0.0.1"))
    assert not client.is_model_ready(DETECTOR, "9.9.9")
    assert not client.is_model_ready("nobody")


def case_metadata(scene: Scene) -> None:
    server = scene.client.get_server_metadata(as_json=True)
    assert {"statistics", "system_shared_memory"} <= set(server["extensions"])
    model = scene.client.get_model_metadata(CLASSIFIER, as_json=True)
    assert model["versions"] == ["1"]
    assert model["inputs"] == [{"name": "crops", "datatype": "FP32", "shape": ["-1", "1", "128", "96"]}]
    assert [one["name"] for one in model["outputs"]] == ["class_logits", "polarity_logit"]
    config = scene.client.get_model_config(CLASSIFIER).config
    assert config.max_batch_size == 128
    assert list(config.input[0].dims) == [1, 128, 96]
    assert config.parameters["notice"].string_value == "research use only, not for diagnosis"
    pipeline = scene.client.get_model_config("karyotype").config
    assert pipeline.max_batch_size == 0
    assert (pipeline.input[0].name, list(pipeline.input[0].dims)) == ("image", [1])
    assert not pipeline.model_transaction_policy.decoupled


def case_raw_tensors(scene: Scene) -> None:
    result = scene.client.infer(DETECTOR, [film_input()], request_id="seven", client_timeout=WAIT_S)
    output = result.as_numpy("output0")
    assert output.shape == (1, 18, 8400)
    assert output[0, :4, 100].tolist() == [320, 320, 100, 60]
    response = result.get_response()
    assert (response.id, response.model_version) == ("seven", "1")
    assert response.parameters["notice"].string_param == "research use only, not for diagnosis"
    assert response.parameters["demonstration_model"].bool_param


def case_pixels(scene: Scene) -> None:
    model = scene.client.get_model_metadata(PIXELS, as_json=True)
    assert model["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": ["1", "640", "640", "3"]}]
    film = np.full((1, 640, 640, 3), 114, np.uint8)
    tensor = triton.InferInput("images", film.shape, "UINT8")
    tensor.set_data_from_numpy(film)
    result = scene.client.infer(PIXELS, [tensor], client_timeout=WAIT_S)
    assert result.as_numpy("output0")[0, :4, 100].tolist() == [320, 320, 100, 60]
    error = refusal(lambda: scene.client.infer(PIXELS, [film_input()], client_timeout=WAIT_S))
    assert error.message() == "input 'images': expected datatype UINT8 and got 'FP32'"


def case_batch_and_chosen_output(scene: Scene) -> None:
    wanted = [triton.InferRequestedOutput("polarity_logit")]
    result = scene.client.infer(CLASSIFIER, [crops_input(5)], outputs=wanted, client_timeout=WAIT_S)
    assert result.as_numpy("polarity_logit").tolist() == [[0.75]] * 5
    assert result.as_numpy("class_logits") is None


def case_film_pipeline(scene: Scene) -> None:
    result = scene.client.infer(
        "chest_xray",
        [image_input(scene.film_png)],
        request_id="film 1",
        priority=1,
        parameters={"overlay": True},
        client_timeout=WAIT_S,
    )
    answer = as_json(result)
    assert [one["label"] for one in answer["film"]["findings"]] == ["Pleural effusion"]
    assert answer["requestId"] == "film 1"
    assert answer["resultId"]
    assert answer["renderings"]["overlayPng"]
    assert answer["notice"] == "research use only, not for diagnosis"


def case_spread_pipeline(scene: Scene) -> None:
    result = scene.client.infer(
        "karyotype",
        [image_input(scene.spread_png)],
        parameters={"pixel_size_um": 0.065},
        client_timeout=WAIT_S,
    )
    answer = as_json(result)
    assert answer["spread"]["count"] == len(answer["spread"]["chromosomes"]) > 8
    assert answer["spread"]["pixelSizeUm"] == 0.065


def case_statistics(scene: Scene) -> None:
    def counts() -> tuple[int, int, int, int]:
        (model,) = scene.client.get_inference_statistics(CLASSIFIER).model_stats
        stats = model.inference_stats
        return model.inference_count, model.execution_count, stats.success.count, stats.fail.count

    before = counts()
    scene.client.infer(CLASSIFIER, [crops_input(3)], client_timeout=WAIT_S)
    refusal(lambda: scene.client.infer(CLASSIFIER, [film_input()], client_timeout=WAIT_S))
    grown = [now - then for now, then in zip(counts(), before, strict=True)]
    assert grown == [3, 1, 1, 1], grown
    everyone = scene.client.get_inference_statistics().model_stats
    assert len(everyone) == 7
    assert any(one.batch_size == 3 for stats in everyone for one in stats.batch_stats)


def case_shared_memory(scene: Scene) -> None:
    key = f"appliance-test-{os.getpid()}"
    out_bytes = 18 * 8400 * 4
    region = shared_memory.create_shared_memory_region("film", key, FILM.nbytes + out_bytes)
    try:
        shared_memory.set_shared_memory_region(region, [FILM])
        client = scene.client
        client.register_system_shared_memory("film", key, FILM.nbytes + out_bytes)
        assert client.get_system_shared_memory_status(as_json=True)["regions"]["film"]["key"] == key
        tensor = triton.InferInput("images", FILM.shape, "FP32")
        tensor.set_shared_memory("film", FILM.nbytes)
        output = triton.InferRequestedOutput("output0")
        output.set_shared_memory("film", out_bytes, FILM.nbytes)
        for _round in range(3):
            result = client.infer(DETECTOR, [tensor], outputs=[output], client_timeout=WAIT_S)
        assert result.get_response().raw_output_contents[0] == b""
        found = shared_memory.get_contents_as_numpy(region, np.float32, (1, 18, 8400), FILM.nbytes)
        assert found[0, :4, 100].tolist() == [320, 320, 100, 60]
        assert (
            refusal(lambda: client.register_system_shared_memory("film", key, 8)).status()
            == "StatusCode.ALREADY_EXISTS"
        )
        output.set_shared_memory("film", 16, 0)
        error = refusal(lambda: client.infer(DETECTOR, [tensor], outputs=[output], client_timeout=WAIT_S))
        assert "expected room for 604800 bytes in shared memory and got 16" in error.message()
        client.unregister_system_shared_memory("film")
        error = refusal(lambda: client.infer(DETECTOR, [tensor], client_timeout=WAIT_S))
        assert error.status() == "StatusCode.NOT_FOUND"
    finally:
        scene.client.unregister_system_shared_memory()
        shared_memory.destroy_shared_memory_region(region)


def case_a_stream_keeps_the_order_and_survives_errors(scene: Scene) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    scene.client.start_stream(lambda result, error: answers.put((result, error)))
    for index in range(8):
        wrong = index == 3
        scene.client.async_stream_infer(
            CLASSIFIER, [film_input() if wrong else crops_input(1 + index % 2)], request_id=str(index)
        )
    for index in range(8):
        result, error = answers.get(timeout=WAIT_S)
        if index == 3:
            assert error.message().startswith("INVALID_INPUT: expected inputs crops"), error.message()
            continue
        assert error is None, error
        response = result.get_response()
        assert response.id == str(index)
        assert response.parameters["triton_final_response"].bool_param
    scene.client.stop_stream()
    assert answers.empty()


def case_a_stream_tells_of_stages(scene: Scene) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    scene.client.start_stream(lambda result, error: answers.put((result, error)))
    scene.client.async_stream_infer(
        "karyotype",
        [image_input(scene.spread_png)],
        request_id="s",
        parameters={"progress": True},
        enable_empty_final_response=True,
    )
    stages = []
    while True:
        result, error = answers.get(timeout=WAIT_S)
        assert error is None, error
        response = result.get_response()
        if response.parameters["triton_final_response"].bool_param:
            break
        stages.append(as_json(result)["report"]["stage"])
        assert response.parameters["stage"].string_param == stages[-1]
    scene.client.stop_stream()
    assert stages[0] == "decode"
    assert len(stages) > 3, stages
    assert as_json(result)["spread"]["count"] > 8


def case_what_is_refused(scene: Scene) -> None:
    client = scene.client
    index = {one["name"]: one for one in client.get_model_repository_index(as_json=True)["models"]}
    assert {one["state"] for one in index.values()} == {"READY"}
    assert set(index) == {
        "karyotype",
        "chest_xray",
        DETECTOR,
        CLASSIFIER,
        "karyotype-segmenter",
        "karyotype-detector",
        PIXELS,
    }
    for call in (lambda: client.load_model(DETECTOR), lambda: client.unload_model(DETECTOR)):
        error = refusal(call)
        assert error.status() == "StatusCode.PERMISSION_DENIED"
        assert "expected a caller of role ops and got device, reviewer, technician" in error.message()
    assert refusal(client.get_cuda_shared_memory_status).status() == "StatusCode.UNIMPLEMENTED"
    assert client.get_trace_settings(as_json=True)["settings"]["trace_level"]["value"] == ["OFF"]
    changed = refusal(lambda: client.update_trace_settings(settings={"trace_level": "TIMESTAMPS"}))
    assert changed.status() == "StatusCode.UNIMPLEMENTED"
    assert client.get_log_settings().settings["log_error"].bool_param
    assert client.update_log_settings({"log_verbose_level": 1}).settings["log_verbose_level"].uint32_param
    assert not client.update_log_settings({"log_verbose_level": 0}).settings["log_verbose_level"].uint32_param


def case_wrong_requests(scene: Scene) -> None:
    client = scene.client
    wrong = triton.InferInput("images", [1, 3, 2, 2], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 3, 2, 2), np.float32))
    error = refusal(lambda: client.infer(DETECTOR, [wrong]))
    assert error.status() == "StatusCode.INVALID_ARGUMENT"
    assert error.message() == "input 'images': expected shape [1,3,640,640] and got [1,3,2,2]"
    error = refusal(lambda: client.infer("nobody", [wrong]))
    assert error.status() == "StatusCode.NOT_FOUND"
    assert "chest-xray-detector" in error.message()
    assert "karyotype" in error.message()
    error = refusal(lambda: client.infer("chest_xray", [image_input(b"no image at all")]))
    assert error.status() == "StatusCode.INVALID_ARGUMENT"
    error = refusal(lambda: client.infer("chest_xray", [image_input(scene.film_png)], timeout=1))
    assert error.status() == "StatusCode.DEADLINE_EXCEEDED"
    error = refusal(lambda: client.infer(CLASSIFIER, [crops_input(1)], sequence_id=7))
    assert error.status() == "StatusCode.UNIMPLEMENTED"


def case_async_callbacks(scene: Scene) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    for count in (1, 2, 3):
        scene.client.async_infer(
            CLASSIFIER, [crops_input(count)], lambda result, error: answers.put((result, error))
        )
    got = [answers.get(timeout=WAIT_S) for _count in range(3)]
    assert all(error is None for _result, error in got)
    assert sorted(result.as_numpy("class_logits").shape[0] for result, _error in got) == [1, 2, 3]


def case_aio(scene: Scene) -> None:
    async def talk() -> None:
        async with triton_aio.InferenceServerClient(scene.address) as client:
            assert await client.is_server_ready()
            results = await asyncio.gather(
                *(client.infer(CLASSIFIER, [crops_input(n)]) for n in (1, 2, 3, 4))
            )
            assert [one.as_numpy("class_logits").shape for one in results] == [(n, 24) for n in (1, 2, 3, 4)]

            async def requests() -> AsyncIterator[dict[str, Any]]:
                for n in (4, 3, 2, 1):
                    yield {"model_name": CLASSIFIER, "inputs": [crops_input(n)], "request_id": str(n)}

            order = []
            async for result, error in client.stream_infer(requests()):
                assert error is None, error
                order.append(result.get_response().id)
            assert order == ["4", "3", "2", "1"]

    asyncio.run(talk())


CASES = {name.removeprefix("case_"): run for name, run in list(globals().items()) if name.startswith("case_")}


def main() -> None:
    scene = Scene(sys.argv[1], Path(sys.argv[2]))
    verdicts: dict[str, str | None] = {}
    for name in sys.argv[3:] or CASES:
        try:
            CASES[name](scene)
            verdicts[name] = None
        except Exception:
            verdicts[name] = traceback.format_exc()
    scene.client.close()
    print(json.dumps(verdicts))


if __name__ == "__main__":
    main()
