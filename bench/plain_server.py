"""The plain way to serve a detector, as a peer: an HTTP server, onnxruntime in FP32, one film a request.

JPEG in the body of a POST, JSON back. Every request runs in a thread of its own, decodes, letterboxes, infers
and suppresses there. No queue, no limits, nothing is stored.
"""

from __future__ import annotations

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

from appliance.chest_xray.decoding import decode, suppress
from appliance.chest_xray.letterbox import film_input
from appliance.models.contract import Contract
from appliance.models.film_contract import read_film_contract
from appliance.models.pack import ModelPack
from engines import Engine, EngineKind, EngineOptions, QuantizedGraph, open_engine, probe_devices

THRESHOLD = 0.25
MAX_IOU = 0.45
MAX_FINDINGS = 100


class Predictor:
    """A film's findings, computed in the thread of its request."""

    def __init__(self, pack: ModelPack) -> None:
        self._contract = read_film_contract(Contract.of(pack.manifest))
        self._labels = pack.manifest.labels.names
        options = EngineOptions(quantized_graph=QuantizedGraph.FLOAT)
        probe = probe_devices(order=(EngineKind.ONNXRUNTIME,))
        self.engine: Engine = open_engine(pack.model_path, options, probe=probe).engine

    def predict(self, jpeg: bytes) -> list[dict[str, object]]:
        grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
        if grey is None:
            raise ValueError("expected a JPEG file")
        tensor, letterbox = film_input(np.asarray(grey, np.uint8), self._contract)
        output = self.engine.infer({self._contract.input_name: tensor})[self._contract.output_name]
        found = decode(output, self._contract.layout, np.full(len(self._labels), THRESHOLD))
        found = suppress(found, MAX_IOU, MAX_FINDINGS)
        return [
            {"label": self._labels[index], "confidence": score, "box": box}
            for index, score, box in zip(
                found.classes.tolist(),
                found.scores.tolist(),
                letterbox.to_film(found.boxes).tolist(),
                strict=True,
            )
        ]


def serve(port: int, predictor: Predictor) -> None:
    """Answer until the process is told to end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            jpeg = self.rfile.read(int(self.headers["Content-Length"]))
            answer = json.dumps(predictor.predict(jpeg)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        print("ready", predictor.engine.info.kind.value, predictor.engine.info.precision, flush=True)
        server.serve_forever()


def main() -> None:
    """Run by `bench.xray`."""
    parser = argparse.ArgumentParser(prog="bench.plain_server", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("pack", type=Path)
    words = parser.parse_args()
    serve(words.port, Predictor(ModelPack.open(words.pack)))


if __name__ == "__main__":
    main()
