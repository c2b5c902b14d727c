"""Drives an install through its states, one method for each; every one can be done again after a cut."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from appliance.bundles.install_state import CANCELLABLE, TRANSITIONS, Install, InstallState
from appliance.bundles.roles import RoleRecords
from appliance.bundles.source import ReleaseSource
from appliance.bundles.store import Bundle, BundleStore
from appliance.bundles.trust import ReleaseTrust, VerifiedRelease
from appliance.errors import ApplianceError, Cancelled, PackRejected, ReleaseRefused, StorageUnavailable
from appliance.models.manifest import Role
from appliance.models.pack import ModelPack
from appliance.models.registry import ModelRegistry
from appliance.updates.examiner import Examiner
from appliance.updates.records import InstallRecords
from appliance.updates.request import InstallEvent, Tell
from appliance.updates.trials import Trials

LOG = logging.getLogger(__name__)
S = InstallState
TELL_EVERY_BYTES = 1 << 20


@dataclass
class Job:
    """What accompanies one run of an install and is not on the disk."""

    tell: Tell
    source: ReleaseSource | None = None  # None after a cut: opened again from the install's record
    release: VerifiedRelease | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    stopping: bool = False  # the daemon stops: the next start carries on

    def check(self) -> None:
        """Raise Cancelled where a person wants it to stop."""
        if self.cancelled.is_set():
            raise Cancelled("the install was cancelled")


@dataclass(frozen=True)
class Tools:
    """What an installer works with."""

    open_trust: Callable[[], ReleaseTrust]  # ReleaseRefused where the box was given no root of trust
    open_source: Callable[[str], ReleaseSource]
    bundles: BundleStore
    roles: RoleRecords
    records: InstallRecords
    trials: Trials
    examiner: Examiner
    models: ModelRegistry
    factory: Callable[[Role], Path | None]  # pack directory that the box was born with


class Installer:
    """Carries installs on from whatever state they are in.

    Args:
        tools: collaborators.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._steps: Mapping[InstallState, Callable[[Install, Job], Install]] = {
            S.DOWNLOADING: self._download,
            S.VERIFYING: self._verify,
            S.STAGED: self._staged,
            S.COMPILING: self._compile,
            S.TESTING: self._test,
            S.PASSED: self._passed,
            S.ACTIVATING: self._activate,
        }

    def drive(self, install: Install, job: Job) -> Install:
        """Go on until the install waits, serves or has ended.

        Raises:
            ReleaseRefused: the release is wrong or failed the gate.
            Cancelled: a person stopped it.
            StorageUnavailable, SourceUnavailable, ModelUnavailable: it can be repeated.
        """
        state = install.state
        try:
            while install.state in self._steps:
                state = install.state
                if state in CANCELLABLE:
                    job.check()
                job.tell(InstallEvent(state, install.role, install.title, install.detail))
                install = self._steps[state](install, job)
                if install.state is state:
                    break
        except Cancelled:
            if job.stopping:
                raise
            self._end(install, S.CANCELLED, "stopped by a person")
            raise
        except (ReleaseRefused, PackRejected) as exc:
            self._end(install, S.REFUSED, str(exc))
            raise ReleaseRefused(f"{install.title}: {exc}") from exc
        except ApplianceError as exc:
            self._end(install, S.FAILED, str(exc))
            raise
        job.tell(InstallEvent(install.state, install.role, install.title, install.detail))
        return install

    def roll_back(self, install: Install, reason: str) -> Install:
        """Let the model before serve again, durably first; the one that did not hold up is deleted.

        Raises:
            StorageUnavailable: the disk does not take it; the model before serves all the same.
        """
        role = Role(install.role)
        record = self._tools.roles.read(install.role)
        try:
            if record.current == install.bundle_id:
                self._tools.roles.write(install.role, record.rolled_back())
        finally:
            self._serve_previous(role, install)
        ended = self._tools.records.enter(install, S.ROLLED_BACK, reason)
        LOG.warning("%s was rolled back: %s", install.title, reason)
        self.collect_garbage()
        return ended

    def confirm(self, install: Install, reason: str) -> Install:
        """Live traffic bore it out: the engine before may go."""
        record = self._tools.roles.read(install.role)
        self._tools.roles.write(install.role, record.confirmed_good(install.counter))
        after = self._tools.records.enter(install, S.GOOD, reason)
        self._tools.models.let_go(Role(install.role))
        self.collect_garbage()
        return after

    def collect_garbage(self) -> None:
        """Delete every bundle but current, previous and those of installs under way; a full disk is no
        fault.
        """
        roles = tuple(role.value for role in Role)
        kept = self._tools.records.kept_bundles(roles)
        for role in roles:
            kept |= self._tools.roles.read(role).bundles()
        with contextlib.suppress(StorageUnavailable):
            self._tools.bundles.prune(kept)

    def _download(self, install: Install, job: Job) -> Install:
        release, source = self._release(install, job)
        told = 0

        def progress(done: int, total: int) -> None:
            nonlocal told
            if done - told >= TELL_EVERY_BYTES or done == total:
                told = done
                job.tell(InstallEvent(S.DOWNLOADING, install.role, install.title, "", done, total))

        filled = self._tools.bundles.stage(release, source, progress, job.check)
        detail = f"{filled.fetched} chunks fetched ({filled.fetched_bytes} bytes), {filled.reused} were here"
        return self._tools.records.enter(install, S.VERIFYING, detail)

    def _verify(self, install: Install, job: Job) -> Install:
        if self._tools.bundles.find(install.bundle_id) is None:
            release, _source = self._release(install, job)
            self._tools.bundles.complete(release)
        self._open(install)
        return self._tools.records.enter(install, S.STAGED, install.detail)

    def _staged(self, install: Install, _job: Job) -> Install:
        pack = self._open(install)
        self._tools.examiner.check_contract(install, self._bundle(install).facts, pack)
        return self._tools.records.enter(install, S.COMPILING, install.detail)

    def _compile(self, install: Install, job: Job) -> Install:
        engine = self._tools.trials.compile(self._open(install).directory, job.cancelled)
        return self._tools.records.enter(install, S.TESTING, engine)

    def _test(self, install: Install, job: Job) -> Install:
        pack = self._open(install)
        verdict, evidence, engine = self._tools.examiner.examine(
            install, self._bundle(install).facts, pack, job.cancelled
        )
        if not verdict.passed:
            self._tools.records.enter(
                install, S.REFUSED, f"the gate: {verdict.complaint}", engine=engine, evidence=evidence
            )
            self._tools.bundles.discard(install.bundle_id)
            raise GateRefused(f"the gate: {verdict.complaint} (evidence {evidence})")
        return self._tools.records.enter(
            install,
            S.PASSED,
            f"{len(verdict.lines)} lines of the gate passed",
            engine=engine,
            evidence=evidence,
        )

    def _passed(self, install: Install, _job: Job) -> Install:
        if not install.activate:
            return install
        if install.shadow:
            self._tools.models.hold(self._open(install))
            return self._tools.records.enter(install, S.SHADOWING)
        return self._tools.records.enter(install, S.ACTIVATING)

    def _activate(self, install: Install, _job: Job) -> Install:
        role = Role(install.role)
        record = self._tools.roles.read(install.role)
        if record.current != install.bundle_id or not self._serves(role, install):
            try:
                if not self._holds(role, install):
                    self._tools.models.hold(self._open(install))
                self._tools.roles.write(install.role, record.activated(install.bundle_id))
                self._tools.models.swap(role)
            except ApplianceError as exc:
                self.roll_back(install, f"it could not take over: {exc}")
                raise ActivationFailed(f"{install.title} could not take over: {exc}") from exc
        return self._tools.records.enter(install, S.CONFIRMING)

    def _serves(self, role: Role, install: Install) -> bool:
        identity = self._tools.models.status(role).identity
        return identity is not None and (identity.name, identity.version) == (install.name, install.version)

    def _holds(self, role: Role, install: Install) -> bool:
        held = self._tools.models.held(role)
        return held is not None and (held.name, held.version) == (install.name, install.version)

    def _serve_previous(self, role: Role, install: Install) -> None:
        models = self._tools.models
        if not self._serves(role, install):
            models.let_go(role)
            return
        if models.held(role) is not None:
            models.swap(role)
            models.let_go(role)
            return
        models.activate(self.previous_pack(role))

    def previous_pack(self, role: Role) -> ModelPack:
        """The pack that the record of a role names, or the factory's where it is damaged or there is none.

        Raises:
            PackRejected: not even the factory pack is whole.
        """
        current = self._tools.roles.read(role.value).current
        bundle = self._tools.bundles.find(current) if current is not None else None
        if bundle is not None:
            try:
                return ModelPack.open(bundle.directory)
            except PackRejected as exc:
                LOG.error("%s is damaged, the factory pack serves instead: %s", bundle.facts.title, exc)
        factory = self._tools.factory(role)
        if factory is None:
            raise PackRejected(f"expected a factory pack for {role.value} and got none")
        return ModelPack.open(factory)

    def _release(self, install: Install, job: Job) -> tuple[VerifiedRelease, ReleaseSource]:
        if job.source is None:
            job.source = self._tools.open_source(install.source)
        if job.release is None:
            trust = self._tools.open_trust()
            for offer in trust.refresh(job.source):
                if offer.bundle_id == install.bundle_id:
                    job.release = trust.release(offer, job.source)
        if job.release is None:
            raise ReleaseRefused(f"{job.source.name} does not offer {install.title} any more")
        return job.release, job.source

    def _bundle(self, install: Install) -> Bundle:
        bundle = self._tools.bundles.find(install.bundle_id)
        if bundle is None:
            raise StorageUnavailable(
                f"the staged bundle of {install.title} is gone or damaged; install it again"
            )
        return bundle

    def _open(self, install: Install) -> ModelPack:
        pack = ModelPack.open(self._bundle(install).directory)
        manifest = pack.manifest
        found = (manifest.role.value, manifest.name, manifest.version)
        if found != (install.role, install.name, install.version):
            raise ReleaseRefused(
                f"expected the pack of {install.title} and got {manifest.name} {manifest.version}"
            )
        return pack

    def _end(self, install: Install, state: InstallState, reason: str) -> None:
        """Write how it ended, where the disk takes it; else a start finds it and carries on."""
        current = self._tools.records.read(install.role) or install
        if current.bundle_id != install.bundle_id or state not in TRANSITIONS[current.state]:
            return
        try:
            self._tools.records.enter(current, state, reason)
            if state is not S.FAILED:
                self._tools.bundles.discard(install.bundle_id)
        except StorageUnavailable as exc:
            LOG.error("the end of an install could not be written: %s", exc)


class GateRefused(ReleaseRefused):
    """The gate did not let it through; the state and the evidence are written already."""


class ActivationFailed(StorageUnavailable):
    """It could not take over, and the model before serves."""
