"""What the callers of the soak ask: right, cancelled, late and broken requests, and how each may end."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import grpc
import numpy as np

from appliance.imaging import encode_png
from appliance.pb import open_inference_pb2 as pb
from appliance.pb.appliance_pb2 import GetStatusRequest
from appliance.pb.appliance_pb2_grpc import ApplianceServiceStub
from appliance.pb.chest_xray_pb2 import AnalyzeChestXrayRequest
from appliance.pb.chest_xray_pb2_grpc import ChestXrayServiceStub
from appliance.pb.karyotype_pb2 import AnalyzeMetaphaseRequest
from appliance.pb.karyotype_pb2_grpc import KaryotypeServiceStub
from appliance.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub
from appliance.phantoms.demo import demo_chest_film
from appliance.phantoms.metaphase import metaphase_phantom

CALL_LIMIT_S = 60.0
CROP_SHAPE = (1, 128, 96)
MOST_CROPS = 46
CLASSIFIER, FILMS = "chromosome-classifier", "chest-xray-demonstration"
CLASSIFIER_OUTPUT_FLOATS = 25  # of each crop: 24 classes and a polarity
LATE_S = (0.001, 0.02)
CANCEL_S = 0.03
STREAMED = 3
SHARED = Path("/dev/shm")


@dataclass(frozen=True)
class Action:
    """One kind of request."""

    weight: float
    may_end: frozenset[str]  # names of statuses


RIGHT = frozenset({"OK", "RESOURCE_EXHAUSTED"})
BROKEN = frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "OUT_OF_RANGE", "FAILED_PRECONDITION"}) | {
    "RESOURCE_EXHAUSTED"
}
ACTIONS = {
    "film": Action(2.0, RIGHT),
    "spread": Action(0.4, RIGHT),
    "tensor": Action(2.0, RIGHT),
    "crops": Action(2.0, RIGHT),
    "shared": Action(1.0, RIGHT),
    "stream": Action(0.5, RIGHT),
    "abandoned stream": Action(0.5, RIGHT),
    "cancelled": Action(1.0, RIGHT | {"CANCELLED"}),
    "late": Action(1.0, RIGHT | {"DEADLINE_EXCEEDED"}),
    "garbage": Action(0.5, BROKEN),
    "wrong shape": Action(0.5, BROKEN),
    "wrong name": Action(0.5, BROKEN),
    "torn film": Action(0.5, BROKEN),
    "beyond the region": Action(0.5, BROKEN),
}


class Requests:
    """A client of the daemon at `address`, for any number of threads."""

    def __init__(self, address: str) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.insecure_channel(address, options=options)
        self._models = GRPCInferenceServiceStub(self._channel)
        self._films = ChestXrayServiceStub(self._channel)
        self._spreads = KaryotypeServiceStub(self._channel)
        self._status = ApplianceServiceStub(self._channel)
        done, jpeg = cv2.imencode(".jpg", demo_chest_film().image)
        if not done:
            raise RuntimeError("expected a JPEG and got nothing")
        self._film = jpeg.tobytes()
        self._spread = encode_png(metaphase_phantom(46).image)
        self._pixels = np.full((1, 3, 640, 640), 0.5, np.float32).tobytes()
        self._does: dict[str, Callable[[random.Random], None]] = {
            "film": lambda _dice: self._ask_film(self._film),
            "spread": lambda _dice: self._ask_spread(),
            "tensor": lambda _dice: self._infer(self._film_tensor()),
            "crops": lambda dice: self._infer(self._crops(dice.randint(1, MOST_CROPS))),
            "shared": lambda dice: self._infer_shared(dice, dice.randint(1, MOST_CROPS), 0),
            "stream": lambda dice: self._stream(dice, STREAMED),
            "abandoned stream": lambda dice: self._stream(dice, 1),
            "cancelled": self._cancel,
            "late": lambda dice: self._infer(self._film_tensor(), dice.uniform(*LATE_S)),
            "garbage": lambda dice: self._garbage(dice),
            "wrong shape": lambda dice: self._infer(self._crops(dice.randint(1, MOST_CROPS), missing=4)),
            "wrong name": lambda _dice: self._infer(pb.ModelInferRequest(model_name="nobody")),
            "torn film": lambda dice: self._ask_film(self._film[: dice.randrange(2, len(self._film) // 2)]),
            "beyond the region": lambda dice: self._infer_shared(dice, 2, 1 << 20),
        }

    def carry_out(self, action: str, dice: random.Random) -> tuple[str, bool]:
        """Do it; how it ended, and whether it may end so."""
        try:
            self._does[action](dice)
            outcome = "OK"
        except grpc.RpcError as exc:
            outcome = exc.code().name
        except grpc.FutureCancelledError:
            outcome = "CANCELLED"
        return outcome, outcome in ACTIONS[action].may_end

    def waiting(self) -> int:
        """Requests that wait for a model."""
        status = self._status.GetStatus(GetStatusRequest(), timeout=CALL_LIMIT_S)
        return sum(model.queued for model in status.models)

    def regions(self) -> int:
        """Regions of shared memory that are registered."""
        request = pb.SystemSharedMemoryStatusRequest()
        return len(self._models.SystemSharedMemoryStatus(request, timeout=CALL_LIMIT_S).regions)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def __enter__(self) -> Requests:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask_film(self, encoded: bytes) -> None:
        self._films.AnalyzeChestXray(AnalyzeChestXrayRequest(encoded=encoded), timeout=CALL_LIMIT_S)

    def _ask_spread(self) -> None:
        self._spreads.AnalyzeMetaphase(AnalyzeMetaphaseRequest(encoded=self._spread), timeout=CALL_LIMIT_S)

    def _infer(self, request: pb.ModelInferRequest, limit_s: float = CALL_LIMIT_S) -> None:
        self._models.ModelInfer(request, timeout=limit_s)

    def _film_tensor(self) -> pb.ModelInferRequest:
        request = pb.ModelInferRequest(model_name=FILMS, raw_input_contents=[self._pixels])
        request.inputs.add(name="images", datatype="FP32", shape=(1, 3, 640, 640))
        return request

    def _crops(self, count: int, missing: int = 0) -> pb.ModelInferRequest:
        raw = bytes(4 * count * int(np.prod(CROP_SHAPE)) - missing)
        request = pb.ModelInferRequest(model_name=CLASSIFIER, raw_input_contents=[raw])
        request.inputs.add(name="crops", datatype="FP32", shape=(count, *CROP_SHAPE))
        return request

    def _infer_shared(self, dice: random.Random, count: int, offset: int) -> None:
        size = 4 * count * int(np.prod(CROP_SHAPE))
        name = f"soak-{os.getpid()}-{dice.getrandbits(64):x}"
        path = SHARED / name
        with path.open("xb") as region:
            region.truncate(size)
        try:
            self._models.SystemSharedMemoryRegister(
                pb.SystemSharedMemoryRegisterRequest(name=name, key=name, byte_size=size),
                timeout=CALL_LIMIT_S,
            )
            try:
                request = pb.ModelInferRequest(model_name=CLASSIFIER)
                tensor = request.inputs.add(name="crops", datatype="FP32", shape=(count, *CROP_SHAPE))
                tensor.parameters["shared_memory_region"].string_param = name
                tensor.parameters["shared_memory_byte_size"].int64_param = size
                tensor.parameters["shared_memory_offset"].int64_param = offset
                self._infer(request)
            finally:
                self._models.SystemSharedMemoryUnregister(
                    pb.SystemSharedMemoryUnregisterRequest(name=name), timeout=CALL_LIMIT_S
                )
        finally:
            path.unlink()

    def _stream(self, dice: random.Random, read: int) -> None:
        def requests() -> Iterator[pb.ModelInferRequest]:
            for _ in range(STREAMED):
                yield self._crops(dice.randint(1, 4))

        call: Any = self._models.ModelStreamInfer(requests(), timeout=CALL_LIMIT_S)
        for number, _answer in enumerate(call, 1):
            if number == read:
                call.cancel()  # what is left of the answers nobody reads
                return

    def _cancel(self, dice: random.Random) -> None:
        call: Any = self._models.ModelInfer.future(self._film_tensor(), timeout=CALL_LIMIT_S)
        try:
            call.result(timeout=dice.uniform(0.0, CANCEL_S))
        except grpc.FutureTimeoutError:
            call.cancel()
            call.result()

    def _garbage(self, dice: random.Random) -> None:
        send: Any = self._channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        send(b"\xff" + dice.randbytes(dice.randint(1, 4096)), timeout=CALL_LIMIT_S)
