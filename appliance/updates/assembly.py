"""Puts the parts of `ModelUpdates` together from the configuration; the composition root gives what is
outside.
"""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable
from pathlib import Path

from appliance import BUILD_DATE, __version__
from appliance.bundles.durable import DurableFiles
from appliance.bundles.history import History
from appliance.bundles.https_source import HttpsSource
from appliance.bundles.retrying import RetryingSource, RetryPolicy
from appliance.bundles.roles import RoleRecords
from appliance.bundles.source import DirectorySource, ReleaseSource
from appliance.bundles.store import BundleStore
from appliance.bundles.trust import ReleaseTrust
from appliance.clock import Clock
from appliance.config import MIB, Config, ReleasesConfig
from appliance.errors import InvalidInput, ReleaseRefused
from appliance.models.manifest import Role
from appliance.models.registry import ModelRegistry
from appliance.updates.evidence import DeviceKey, EvidenceStore
from appliance.updates.exam_room import SHIPPED, ExamRoom
from appliance.updates.examiner import Examiner
from appliance.updates.gate import GateLimits
from appliance.updates.installer import Tools
from appliance.updates.live import LiveTraffic
from appliance.updates.records import InstallRecords
from appliance.updates.request import Box
from appliance.updates.service import ModelUpdates
from appliance.updates.trials import ChildTrials, Trials

FOLDER = "releases"
MAX_ROOT_BYTES = 1 << 20


def model_updates(
    config: Config,
    models: ModelRegistry,
    live: LiveTraffic,
    factory: Callable[[Role], Path | None],
    clock: Clock,
    files: DurableFiles | None = None,
    trials: Trials | None = None,
    shipped_exams: Path = SHIPPED,
) -> ModelUpdates:
    """Releases of a box with this configuration.

    Args:
        config: all settings.
        models: where engines are held and swapped.
        live: counts what they do.
        factory: the pack that the box was born with.
        clock: dates records.
        files: how files are changed; a fault test gives its own.
        trials: how packs are measured; by default in child processes.
        shipped_exams: folder of the daemon's own exams.
    """
    root = config.state_directory / FOLDER
    files = files or DurableFiles()
    settings = config.releases
    files.make_directory(root)
    key = DeviceKey(root, files)
    history = History(root / "history.jsonl", files)
    evidence = EvidenceStore(root / "evidence", key, files)
    trials = trials or ChildTrials(config)
    room = ExamRoom(root, key, files, shipped_exams)
    examiner = Examiner(
        trials,
        room,
        models,
        evidence,
        GateLimits(settings.margin, settings.min_parity),
        clock,
    )
    tools = Tools(
        open_trust=lambda: _trust(root, settings, files, clock),
        open_source=lambda name: open_source(name, settings),
        bundles=BundleStore(root, files, settings.spare_mib * MIB),
        roles=RoleRecords(root, files),
        records=InstallRecords(root, files, history, clock),
        trials=trials,
        examiner=examiner,
        models=models,
        factory=factory,
    )
    box = Box(__version__, platform.machine(), settings.group, key.public)
    return ModelUpdates(tools, live, history, evidence, room, box, settings)


def open_source(name: str, settings: ReleasesConfig) -> ReleaseSource:
    """The source of that name; InvalidInput where it is neither a directory nor an https address."""
    policy = RetryPolicy(settings.attempts, settings.first_pause_s)
    if name.startswith("https://"):
        return RetryingSource(HttpsSource(name, settings.timeout_s, settings.tls_authorities), policy)
    if not name.startswith("/"):
        raise InvalidInput(f"expected an absolute directory or an https address and got {name!r}")
    return RetryingSource(DirectorySource(Path(name)), policy)


def _trust(root: Path, settings: ReleasesConfig, files: DurableFiles, clock: Clock) -> ReleaseTrust:
    if settings.root is None:
        raise ReleaseRefused(
            "this box was given no root of trust: set `releases.root` to the root metadata that came with it"
        )
    try:
        with settings.root.open("rb") as file:
            shipped = file.read(MAX_ROOT_BYTES)
    except OSError as exc:
        raise ReleaseRefused(f"cannot read the root of trust {settings.root}: {exc.strerror}") from exc
    built = datetime.datetime.fromisoformat(BUILD_DATE).replace(tzinfo=datetime.timezone.utc)
    return ReleaseTrust(root / "trust", shipped, files, clock, round(built.timestamp() * 1000))
