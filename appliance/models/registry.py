"""Which engine answers for a role right now: loading, leasing, swapping and draining.

A lease keeps its engine alive: `activate` swaps in the new one first and closes the old one only when the
last lease on it has been given back, so that no request ever meets a closed engine.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from appliance.errors import ApplianceError, ModelUnavailable, PackRejected
from appliance.models.contract import Contract
from appliance.models.golden import shape_mismatch
from appliance.models.identity import ModelIdentity
from appliance.models.manifest import Role
from appliance.models.pack import ModelPack, PackLimits
from appliance.models.pixels import pixel_input
from appliance.models.status import LoadEvent, ModelState, ModelStatus
from engines.contract import Engine
from engines.errors import EngineError
from engines.pixels import PixelInput

__all__ = ["EngineOpener", "Lease", "LoadEvent", "ModelRegistry", "ModelState", "ModelStatus"]

LOG = logging.getLogger(__name__)


class EngineOpener(Protocol):
    """Compiles a portable graph for this box; the composition root binds cache and device."""

    def __call__(self, model_path: Path, pixels: PixelInput | None = None) -> Engine:
        """The engine of a graph, which takes pixels too if it is told how."""
        ...


ContractCheck = Callable[[Contract], str | None]
"""Why a pipeline cannot follow a contract, or None where it can."""


@dataclass(frozen=True)
class Lease:
    """The right to use a loaded model until the `with` block ends."""

    identity: ModelIdentity
    engine: Engine
    pack: ModelPack


@dataclass
class _Loaded:
    pack: ModelPack
    engine: Engine
    identity: ModelIdentity
    leases: int = 0
    retired: bool = False


@dataclass
class _Slot:
    state: ModelState = ModelState.UNAVAILABLE
    reason: str = "no model pack was loaded for this role"
    loaded: _Loaded | None = None
    held: _Loaded | None = None  # open beside the one that answers: a candidate, or the one before it
    changing: threading.Lock = field(default_factory=threading.Lock)  # one activate or drain at a time


class ModelRegistry:
    """The loaded models, one for each role.

    Args:
        open_engine: compiles a pack's graph for this box.
        known_contracts: for each role the contract hashes that its pipeline was written for; a pack with
            another one is refused.
        contract_checks: for roles that take any contract of a kind instead: says why not, or None.
        drain_timeout_s: how long `activate`, `drain` and `close` wait for leases, in seconds; after that the
            last lease closes the engine when it is given back.
        limits: bounds on pack sizes.
        warm_up_batch: size of a dynamic batch in the first call, made before the model is READY; 46 is the
            number of chromosomes in a normal human cell.
    """

    def __init__(
        self,
        open_engine: EngineOpener,
        known_contracts: Mapping[Role, frozenset[str]],
        drain_timeout_s: float = 30.0,
        limits: PackLimits | None = None,
        warm_up_batch: int = 46,
        contract_checks: Mapping[Role, ContractCheck] | None = None,
    ) -> None:
        self._open_engine = open_engine
        self._known = dict(known_contracts)
        self._contract_checks = dict(contract_checks or {})
        self._drain_timeout_s = drain_timeout_s
        self._limits = limits or PackLimits()
        self._warm_up_batch = warm_up_batch
        self._changed = threading.Condition()
        self._slots = {role: _Slot() for role in Role}
        self._closed = False

    def load(
        self,
        directories: Sequence[Path],
        on_progress: Callable[[LoadEvent], None] | None = None,
        parallel: int = 2,
    ) -> tuple[ModelStatus, ...]:
        """Open packs and bring them into service; one that fails leaves its role UNAVAILABLE with the reason.

        Args:
            directories: pack directories, one for each role.
            on_progress: called from the loading threads, a few times for each pack.
            parallel: packs that are compiled at the same time.
        """
        report = on_progress or (lambda _: None)
        with ThreadPoolExecutor(max_workers=max(1, parallel), thread_name_prefix="load") as pool:
            for future in [pool.submit(self._load_one, directory, report) for directory in directories]:
                future.result()
        return self.statuses()

    def activate(self, pack: ModelPack) -> ModelStatus:
        """Open an engine for a verified pack, swap it in, drain and close the one before.

        The role keeps answering with the old model until the new one is warm.

        Raises:
            PackRejected: unknown contract, or the graph's tensors are not those of the manifest.
            ModelUnavailable: the engine could not be opened, or the registry is closed.
        """
        role = pack.manifest.role
        self.check_contract(pack)
        slot = self._slots[role]
        with slot.changing:
            self._set_loading(slot, role)
            try:
                loaded = self._open(pack)
            except ApplianceError as exc:
                self._set_failed(slot, str(exc))
                raise
            with self._changed:
                if self._closed:
                    loaded.engine.close()
                    raise ModelUnavailable("the model registry is closed: the daemon is stopping")
                previous, slot.loaded = slot.loaded, loaded
                slot.state, slot.reason = ModelState.READY, ""
                self._changed.notify_all()
            if previous is not None:
                self._retire(previous)
        return self.status(role)

    def check_contract(self, pack: ModelPack) -> None:
        """PackRejected where the pipeline was not written for the pack's contract."""
        role = pack.manifest.role
        if role in self._contract_checks:
            reason = self._contract_checks[role](Contract.of(pack.manifest))
            if reason is not None:
                raise PackRejected(f"{pack.manifest.name} {pack.manifest.version}: {reason}")
            return
        known = self._known.get(role, frozenset())
        if pack.contract_hash not in known:
            names = ", ".join(sorted(hash_[:12] for hash_ in known)) or "none"
            raise PackRejected(
                f"expected a contract that the {role.value} pipeline knows ({names})"
                f" and got {pack.contract_hash[:12]} in {pack.manifest.name} {pack.manifest.version}"
            )

    def hold(self, pack: ModelPack) -> None:
        """Open an engine for a verified pack beside the one that answers; it answers nobody before `swap`.

        Raises:
            PackRejected, ModelUnavailable: as `activate`.
        """
        self.check_contract(pack)
        slot = self._slots[pack.manifest.role]
        with slot.changing:
            loaded = self._open(pack)
            with self._changed:
                closed = self._closed
                if not closed:
                    before, slot.held = slot.held, loaded
            if closed:
                loaded.engine.close()
                raise ModelUnavailable("the model registry is closed: the daemon is stopping")
            if before is not None:
                self._retire(before)

    def swap(self, role: Role) -> ModelStatus:
        """Let the held model answer from the next request on, and hold the one that answered until now.

        Raises:
            ModelUnavailable: no model is held for the role.
        """
        slot = self._slots[role]
        with slot.changing, self._changed:
            if slot.held is None:
                raise ModelUnavailable(f"expected a held model for {role.value} and got none")
            slot.loaded, slot.held = slot.held, slot.loaded
            slot.state, slot.reason = ModelState.READY, ""
            self._changed.notify_all()
        return self.status(role)

    def let_go(self, role: Role) -> None:
        """Drain and close the held model of a role; nothing to do where none is held."""
        slot = self._slots[role]
        with slot.changing:
            with self._changed:
                held, slot.held = slot.held, None
            if held is not None:
                self._retire(held)

    def held(self, role: Role) -> ModelIdentity | None:
        """Which model is held beside the one that answers."""
        with self._changed:
            held = self._slots[role].held
            return held.identity if held is not None else None

    @contextmanager
    def acquire(self, role: Role, *, held: bool = False) -> Iterator[Lease]:
        """Lease the model of a role for the length of a `with` block.

        Args:
            role: which model.
            held: the one beside the one that answers.

        Raises:
            ModelUnavailable: no engine is ready for the role.
        """
        with self._changed:
            slot = self._slots[role]
            loaded = slot.held if held else slot.loaded
            if held and loaded is None:
                raise ModelUnavailable(f"expected a held model for {role.value} and got none")
            if loaded is None or not (held or slot.state is ModelState.READY):
                why = f": {slot.reason}" if slot.reason else ""
                raise ModelUnavailable(
                    f"expected a ready model for {role.value} and got {slot.state.value}{why}"
                )
            loaded.leases += 1
        try:
            yield Lease(loaded.identity, loaded.engine, loaded.pack)
        finally:
            with self._changed:
                loaded.leases -= 1
                last = loaded.retired and loaded.leases == 0
                self._changed.notify_all()
            if last:
                loaded.engine.close()

    def drain(self, role: Role, reason: str = "taken out of service") -> None:
        """Give no new leases on a role, wait for the running ones, close the engine."""
        slot = self._slots[role]
        with slot.changing:
            with self._changed:
                loaded = slot.loaded
                if loaded is None:
                    slot.reason = reason
                    return
                slot.state, slot.reason = ModelState.UNLOADING, reason
            self._retire(loaded)
            with self._changed:
                slot.loaded, slot.state = None, ModelState.UNAVAILABLE

    def identity(self, role: Role) -> ModelIdentity:
        """The model that a lease would give now; ModelUnavailable where there is none."""
        with self.acquire(role) as lease:
            return lease.identity

    def status(self, role: Role) -> ModelStatus:
        """How a role stands now."""
        with self._changed:
            slot = self._slots[role]
            loaded = slot.loaded
            return ModelStatus(
                role=role,
                state=slot.state,
                reason=slot.reason,
                identity=loaded.identity if loaded else None,
                engine=loaded.engine.info if loaded else None,
                demonstration=loaded.pack.manifest.card.demonstration if loaded else False,
                leases=loaded.leases if loaded else 0,
                takes_pixels=bool(loaded and loaded.engine.pixel_inputs),
            )

    def statuses(self) -> tuple[ModelStatus, ...]:
        """All roles, in the order of `Role`."""
        return tuple(self.status(role) for role in Role)

    @property
    def ready(self) -> bool:
        """Whether every role is READY."""
        with self._changed:
            return all(slot.state is ModelState.READY for slot in self._slots.values())

    def close(self) -> None:
        """Drain every role; nothing can be activated afterwards."""
        with self._changed:
            self._closed = True
        for role in Role:
            self.let_go(role)
            self.drain(role, "the daemon is stopping")

    def __enter__(self) -> ModelRegistry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load_one(self, directory: Path, report: Callable[[LoadEvent], None]) -> None:
        role: Role | None = None
        try:
            report(LoadEvent(None, directory, ModelState.LOADING, "verifying"))
            pack = ModelPack.open(directory, self._limits)
            role = pack.manifest.role
            report(LoadEvent(role, directory, ModelState.LOADING, f"compiling {pack.manifest.name}"))
            status = self.activate(pack)
            engine = status.engine
            detail = f"{engine.kind.value}, {engine.device}, {engine.precision}" if engine else ""
            report(LoadEvent(role, directory, ModelState.READY, detail))
        except ApplianceError as exc:
            LOG.error("model pack %s was not loaded: %s", directory.name, exc)
            report(LoadEvent(role, directory, ModelState.UNAVAILABLE, str(exc)))
            self._blame(role, directory, str(exc))

    def _blame(self, role: Role | None, directory: Path, reason: str) -> None:
        # A pack that cannot even be read names no role: every empty role then shows it as the likely cause.
        with self._changed:
            for candidate, slot in self._slots.items():
                if slot.loaded is None and (role is None or candidate is role):
                    slot.reason = f"pack {directory.name}: {reason}"

    def _set_loading(self, slot: _Slot, role: Role) -> None:
        with self._changed:
            if self._closed:
                raise ModelUnavailable("the model registry is closed: the daemon is stopping")
            if slot.loaded is None:
                slot.state, slot.reason = ModelState.LOADING, f"the engine for {role.value} is being compiled"

    def _set_failed(self, slot: _Slot, reason: str) -> None:
        with self._changed:
            if slot.loaded is None:
                slot.state, slot.reason = ModelState.UNAVAILABLE, reason

    def _open(self, pack: ModelPack) -> _Loaded:
        manifest = pack.manifest
        try:
            engine = self._open_engine(pack.model_path, pixel_input(manifest))
        except EngineError as exc:
            raise ModelUnavailable(f"no engine for {manifest.name} {manifest.version}: {exc}") from exc
        mismatch = shape_mismatch(manifest, engine)
        if mismatch is not None:
            engine.close()
            raise PackRejected(mismatch)
        try:
            engine.warm_up(self._warm_up_batch)
        except EngineError as exc:
            engine.close()
            raise ModelUnavailable(f"{manifest.name} {manifest.version} failed to warm up: {exc}") from exc
        info = engine.info
        identity = ModelIdentity(
            name=manifest.name,
            version=manifest.version,
            role=manifest.role,
            contract_hash=pack.contract_hash,
            engine=info.kind.value,
            device=info.device,
            precision=info.precision,
            confidence=manifest.confidence,
            fingerprint=info.fingerprint,
        )
        return _Loaded(pack, engine, identity)

    def _retire(self, loaded: _Loaded) -> None:
        with self._changed:
            idle = self._changed.wait_for(lambda: loaded.leases == 0, timeout=self._drain_timeout_s)
            if not idle:
                loaded.retired = True  # the last lease closes it
        if idle:
            loaded.engine.close()
        else:
            LOG.warning("%s is still in use after %.0f s", loaded.identity.name, self._drain_timeout_s)
