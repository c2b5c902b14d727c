"""Who is compared, and how each of them is started."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.serving.environments import REPOSITORY, NotInstalled, environment, site_packages
from bench.serving.payloads import PEER_MODEL, Payload
from bench.serving.peers import handler

FACTORY = REPOSITORY / "engines" / "factory"
INSTANCES = 2
"""Copies of the model in each peer, so that one computes while another reads or answers."""

LIBPYTHON = {"LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))}
"""Triton's Python backend is linked with libpython; it has to be that of the standard library in use."""

TRITON_TYPES = {"BYTES": "TYPE_STRING", "FP32": "TYPE_FP32", "UINT8": "TYPE_UINT8"}


@dataclass(frozen=True)
class Place:
    """What a server is given."""

    folder: Path  # its own, empty
    payload: Payload
    port: int  # this one and the next two
    film: Path

    @property
    def graph(self) -> Path:
        """The model file that answers."""
        return FACTORY / self.payload.pack / "model.onnx"


@dataclass(frozen=True)
class Launch:
    """How a server is started and where it answers."""

    command: list[str]
    address: str = ""  # empty: it takes orders itself
    model: str = PEER_MODEL
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """One column of the comparison; several may share a server."""

    name: str
    title: str
    server: str
    shared_memory: bool = False
    unix_socket: bool = False
    tensors_only: bool = False
    peer: bool = True


CONTENDERS = (
    Contender("bare-1", "bare engine, one stream", "bare-1", peer=False),
    Contender("bare-2", "bare engine, two streams", "bare-2", peer=False),
    Contender("ours-tcp", "ours, TCP", "ours", peer=False),
    Contender("ours-unix", "ours, Unix socket", "ours", unix_socket=True, peer=False),
    Contender("ours-shm", "ours, shared memory", "ours", shared_memory=True, tensors_only=True, peer=False),
    Contender("ours-streams", "ours, TCP, two streams", "ours-2", peer=False),
    Contender("triton", "Triton, Python backend", "triton"),
    Contender(
        "triton-shm",
        "Triton, Python backend, shared memory",
        "triton",
        shared_memory=True,
        tensors_only=True,
    ),
    Contender("pytriton", "PyTriton", "pytriton"),
    Contender("mlserver", "MLServer", "mlserver"),
    Contender("ray", "Ray Serve", "ray"),
)


def bare(streams: int) -> Callable[[Place], Launch]:
    """The engine in the process that asks."""

    def launch(place: Place) -> Launch:
        command = [sys.executable, "-m", "bench.serving.bare", str(place.graph), str(place.film)]
        return Launch([*command, str(streams)])

    return launch


def ours(streams: int) -> Callable[[Place], Launch]:
    """`appliance serve` with the one pack, as the peers have one model."""
    return lambda place: _ours(place, streams)


def _ours(place: Place, streams: int) -> Launch:
    packs = place.folder / "packs"
    shutil.copytree(FACTORY / place.payload.pack, packs / place.payload.pack)
    configuration = place.folder / "bench.toml"
    configuration.write_text(f'[models]\ndirectory = "{packs}"\n[inference]\nstreams = {streams}\n')
    command = [sys.executable, "-m", "appliance", "serve", "--config", str(configuration)]
    address = f"127.0.0.1:{place.port}"
    command += ["--state-dir", str(place.folder / "state"), "--listen", address]
    return Launch(command, address, place.payload.our_model)


def triton(place: Place) -> Launch:
    """The Triton server out of PyTriton's wheel, with its Python backend."""
    python = environment("pytriton")
    packages = site_packages(python)
    server = packages / "pytriton" / "tritonserver"
    binary, backends = server / "bin" / "tritonserver", server / "backends"
    stub = backends / "python" / "triton_python_backend_stub"
    shipped = server / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}"
    if not binary.exists() or not shipped.exists():
        raise NotInstalled("expected a Triton server for this Python in PyTriton's wheel and found none")
    shutil.copy(shipped / stub.name, stub)  # the backend looks for it beside its own library
    stub.chmod(0o755)
    model = place.folder / "models" / PEER_MODEL
    (model / "1").mkdir(parents=True)
    # the backend's interpreter starts without PYTHONPATH
    (model / "1" / "model.py").write_text(
        f"import sys\n\nsys.path[:0] = {[str(REPOSITORY), str(packages)]}\n"
        "from bench.serving.peers.triton_model import TritonPythonModel as TritonPythonModel\n"
    )
    (model / "config.pbtxt").write_text(_triton_config(place.payload))
    command = [str(binary), f"--model-repository={model.parent}", f"--backend-directory={backends}"]
    command += [f"--grpc-port={place.port}", f"--http-port={place.port + 1}", "--allow-metrics=false"]
    return Launch(command, f"127.0.0.1:{place.port}", environment=_peer(place) | LIBPYTHON)


def pytriton(place: Place) -> Launch:
    """PyTriton."""
    python = environment("pytriton")
    return Launch(
        [str(python), "-m", "bench.serving.peers.pytriton_server"],
        f"127.0.0.1:{place.port}",
        environment=_peer(place) | LIBPYTHON,
    )


def mlserver(place: Place) -> Launch:
    """MLServer with a custom runtime."""
    python = environment("mlserver")
    model = place.folder / PEER_MODEL
    model.mkdir()
    settings = {
        "host": "127.0.0.1",
        "grpc_port": place.port,
        "http_port": place.port + 1,
        "metrics_port": place.port + 2,
        "parallel_workers": INSTANCES,
        "grpc_max_message_length": 256 << 20,
        "debug": False,
    }
    (place.folder / "settings.json").write_text(json.dumps(settings))
    implementation = "bench.serving.peers.mlserver_runtime.Runtime"
    model_settings = {"name": PEER_MODEL, "implementation": implementation}
    (model / "model-settings.json").write_text(json.dumps(model_settings))
    command = [str(python.parent / "mlserver"), "start", str(place.folder)]
    return Launch(command, f"127.0.0.1:{place.port}", environment=_peer(place))


def ray(place: Place) -> Launch:
    """Ray Serve behind its gRPC proxy."""
    python = environment("ray")
    names = REPOSITORY / "bench" / "serving" / "peers" / "names"
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(place.folder),
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{names}",
    }
    return Launch(
        [str(python), "-m", "bench.serving.peers.ray_server"],
        f"127.0.0.1:{place.port}",
        environment=_peer(place) | settings,
    )


SERVERS: dict[str, Callable[[Place], Launch]] = {
    "bare-1": bare(1),
    "bare-2": bare(2),
    "ours": ours(1),
    "ours-2": ours(2),
    "triton": triton,
    "pytriton": pytriton,
    "mlserver": mlserver,
    "ray": ray,
}


def _peer(place: Place) -> dict[str, str]:
    return {
        handler.PAYLOAD: place.payload.name,
        handler.GRAPH: str(place.graph),
        handler.PORT: str(place.port),
        handler.INSTANCES: str(INSTANCES),
        "PYTHONPATH": str(REPOSITORY),
    }


def _triton_config(payload: Payload) -> str:
    def tensors(kind: str, rows: list[tuple[str, str, tuple[int, ...]]]) -> str:
        inside = ",\n".join(
            f'  {{ name: "{name}" data_type: {TRITON_TYPES[datatype]} dims: {list(shape)} }}'
            for name, datatype, shape in rows
        )
        return f"{kind} [\n{inside}\n]\n"

    return (
        'backend: "python"\nmax_batch_size: 0\n'
        + tensors("input", [(payload.input_name, payload.datatype, payload.shape)])
        + tensors("output", list(payload.outputs))
        + f"instance_group [ {{ count: {INSTANCES} kind: KIND_CPU }} ]\n"
    )
