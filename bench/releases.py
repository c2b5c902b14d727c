"""`make bench-releases`: verify and stage 50 MB, what a client feels of a swap, and what trust costs a start.

The box is a daemon in a process of its own with the factory packs; the release is the factory's X-ray pack
under a new version. Clients send the same film all the while, four at a time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from securesystemslib.signer import CryptoSigner, SSlibKey

from appliance.bundles.durable import DurableFiles
from appliance.bundles.release import ReleaseFacts
from appliance.bundles.source import DirectorySource
from appliance.bundles.store import BundleStore
from appliance.bundles.trust import ReleaseTrust
from appliance.client import ApplianceClient, LocalDaemon
from appliance.client.models import ModelsClient
from appliance.clock import Clock
from appliance.errors import ApplianceError
from appliance.imaging import encode_png
from appliance.models.manifest import Role
from appliance.models.pack import ModelPack
from appliance.pb import appliance_pb2, chest_xray_pb2
from appliance.phantoms.demo import demo_chest_film
from bench.report import Row, Target, publish, summarise
from engine_builder.release.keys import KeyEntry
from engine_builder.release.repository import THRESHOLDS, ReleaseRepository

FACTORY = Path(__file__).resolve().parents[1] / "engines" / "factory"
ROLE = Role.CHEST_XRAY_DETECTOR.value
PACK_BYTES = 50_000_000
CLIENTS = 4
CALL_S = 120.0
QUIET_S = 4.0
START = """
import sys, time
from pathlib import Path
import appliance.cases, appliance.chest_xray.pipeline, appliance.inference, appliance.karyotype.cascade
import appliance.models.opening, appliance.service, appliance.client
began = time.perf_counter()
from appliance.updates.assembly import model_updates
from appliance.updates.live import LiveTraffic
from appliance.config import Config
from appliance.clock import Clock
from appliance.models.registry import ModelRegistry
imported = time.perf_counter()
models = ModelRegistry(lambda path, pixels=None: None, {})
live = LiveTraffic(models, time.monotonic)
updates = model_updates(Config(state_dir=Path(sys.argv[1])), models, live, lambda role: None, Clock())
updates.directories()
print((imported - began) * 1000, (time.perf_counter() - imported) * 1000)
"""


@dataclass(frozen=True)
class Feel:
    """What the clients felt of one swap."""

    swap_ms: float  # from the call that activates to its answer
    ratio: float  # p99 during it over p99 before it
    failed: int
    requests: int


class Centre:
    """Keys in memory and a repository in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._signers: dict[str, list[CryptoSigner]] = {}
        entries = []
        for role, threshold in THRESHOLDS.items():
            for number in range(threshold):
                signer = CryptoSigner.generate_ed25519()
                key = signer.public_key
                assert isinstance(key, SSlibKey)
                entries.append(KeyEntry(f"{role}-{number}", role, "memory:", key.keyid, key.to_dict()))
                self._signers.setdefault(role, []).append(signer)
        repository = ReleaseRepository(folder)
        repository.initialise(entries)
        self._publish("root", "targets")

    def release(self, directory: Path, counter: int) -> None:
        """Add, sign, publish."""
        pack = ModelPack.open(directory)
        facts = ReleaseFacts(
            name=pack.manifest.name,
            version=pack.manifest.version,
            role=pack.manifest.role.value,
            contract_hash=pack.contract_hash,
            hardware=("any",),
            minimum_daemon="0.1.0",
            counter=counter,
            latency_ms_p95=60_000,
            memory_mib=4096,
        )
        ReleaseRepository(self.folder).add(pack, facts)
        self._publish("targets")

    def _publish(self, *roles: str) -> None:
        for role in roles:
            for signer in self._signers[role]:
                ReleaseRepository(self.folder).sign(role, signer)
        ReleaseRepository(self.folder).publish(self._signers["snapshot"][0], self._signers["timestamp"][0])


def versioned(source: Path, target: Path, version: str, size_bytes: int = 0) -> Path:
    """A copy of a pack under another version, with ballast up to a size."""
    shutil.copytree(source, target)
    path = target / "manifest.json"
    tree = json.loads(path.read_text())
    tree["version"] = version
    missing = size_bytes - sum(file["size_bytes"] for file in tree["files"])
    if missing > 0:
        ballast = np.random.default_rng(1).integers(0, 256, missing).astype(np.uint8).tobytes()
        (target / "ballast.bin").write_bytes(ballast)
        tree["files"].append(
            {
                "path": "ballast.bin",
                "sha256": hashlib.sha256(ballast).hexdigest(),
                "size_bytes": len(ballast),
            }
        )
    path.write_text(json.dumps(tree))
    return target


def stage_times(folder: Path, rounds: int) -> list[float]:
    """Seconds to verify the metadata and the chunk list, stage 50 MB, read them back, and move them."""
    centre = Centre(folder / "large")
    centre.release(versioned(FACTORY / "metaphase-segmenter", folder / "pack-large", "9.0.0", PACK_BYTES), 1)
    root = (centre.folder / "metadata" / "1.root.json").read_bytes()
    found = []
    for turn in range(rounds):
        box = folder / f"box-{turn}"
        began_s = time.perf_counter()
        files = DurableFiles()
        trust = ReleaseTrust(box / "trust", root, files, Clock(), 0)
        source = DirectorySource(centre.folder)
        (offer,) = trust.refresh(source)
        release = trust.release(offer, source)
        store = BundleStore(box, files, 0)
        store.stage(release, source)
        bundle = store.complete(release)
        ModelPack.open(bundle.directory)
        found.append(time.perf_counter() - began_s)
        shutil.rmtree(box)
    return found


class Load:
    """Clients that send one film after the other."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._film = encode_png(demo_chest_film().image)
        self._stop = threading.Event()
        self.calls: list[tuple[float, float]] = []  # began and took, seconds
        self.failed: list[str] = []

    @contextmanager
    def running(self) -> Iterator[Load]:
        """Until the block ends."""
        threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def p99_ms(self, since_s: float, until_s: float) -> float:
        """Of the calls that were under way at any time between."""
        took = [took for began, took in list(self.calls) if began < until_s and began + took > since_s]
        return float(np.percentile(took, 99)) * 1000

    def _ask(self) -> None:
        with ApplianceClient(self._address) as client:
            while not self._stop.is_set():
                began_s = time.perf_counter()
                try:
                    client.analyze_chest_film(
                        chest_xray_pb2.AnalyzeChestXrayRequest(encoded=self._film), CALL_S
                    )
                except ApplianceError as exc:
                    self.failed.append(str(exc))
                self.calls.append((began_s, time.perf_counter() - began_s))


def swaps(folder: Path, rounds: int) -> list[Feel]:
    """What four clients feel while a release takes over, and the factory pack again, in turn."""
    centre = Centre(folder / "xray")
    settings = folder / "bench.toml"
    root = centre.folder / "metadata" / "1.root.json"
    settings.write_text(f'[releases]\nroot = "{root}"\nconfirm_requests = 100000\nmax_slowdown = 100\n')
    found = []
    with LocalDaemon(("--config", str(settings))) as daemon, ApplianceClient(daemon.address) as client:
        daemon.wait_until_started(client)
        models = ModelsClient(client)
        for turn in range(rounds):
            pack = versioned(FACTORY / "chest-xray-demonstration", folder / f"x-{turn}", f"9.{turn}.0")
            centre.release(pack, turn + 1)
            request = appliance_pb2.InstallModelsRequest(
                source=str(centre.folder), requested_by="bench", hold=True
            )
            for _event in models.install(request):
                pass
            load = Load(daemon.address)
            with load.running():
                time.sleep(QUIET_S)
                began_s = time.perf_counter()
                models.activate(ROLE, "bench")
                ended_s = time.perf_counter()
                time.sleep(1.0)
            before_ms = load.p99_ms(began_s - QUIET_S * 0.75, began_s)
            ratio = load.p99_ms(began_s, ended_s) / before_ms
            found.append(Feel((ended_s - began_s) * 1000, ratio, len(load.failed), len(load.calls)))
            models.roll_back(ROLE, "bench")
    return found


def start_costs(folder: Path, rounds: int) -> list[float]:
    """Milliseconds that releases add to a start: modules, records and the check of what serves."""
    found = []
    for _ in range(rounds):
        done = subprocess.run(
            [sys.executable, "-c", START, str(folder / "start")],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        imported_ms, checked_ms = map(float, done.stdout.split())
        found.append(imported_ms + checked_ms)
    return found


def main() -> None:
    """Measure, print, write bench/results/releases.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        staged_s = stage_times(folder, options.rounds)
        costs_ms = start_costs(folder, options.rounds)
        felt = swaps(folder, max(2, options.rounds - 2))
    failed = sum(one.failed for one in felt)
    rows = [
        summarise("verify and stage 50 MB from a directory", staged_s, "s", Target(2.0)),
        summarise("p99 during a swap over p99 before it", [one.ratio for one in felt], "x", Target(2.0)),
        Row(
            "requests that failed during swaps",
            failed,
            "",
            sum(one.requests for one in felt),
            failed,
            failed,
            Target(0),
        ),
        summarise("a swap, from the call to its answer", [one.swap_ms for one in felt], "ms"),
        summarise("what releases add to a start", costs_ms, "ms", Target(300.0)),
    ]
    publish(
        "releases",
        rows,
        {"stage s": staged_s, "start ms": costs_ms, "ratio": [one.ratio for one in felt]},
    )


if __name__ == "__main__":
    main()
