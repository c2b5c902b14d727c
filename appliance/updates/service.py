"""What the box offers about its models: install, activate, roll back, verify, list, history; and what it
does alone.

One install runs at a time, on the caller's thread. One background thread watches the models on trial and
carries on what a cut left behind.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.bundles.history import Event, History
from appliance.bundles.install_state import AFTER_CUT, ENDED, AfterCut, Install, InstallState
from appliance.bundles.release import Offer
from appliance.bundles.roles import RoleRecord
from appliance.config import ReleasesConfig
from appliance.errors import ApplianceError, LimitExceeded, NotFound, StorageUnavailable
from appliance.models.manifest import Role
from appliance.updates.boot import StartUp
from appliance.updates.evidence import EvidenceStore
from appliance.updates.exam_room import ExamRoom
from appliance.updates.installer import Installer, Job, Tools
from appliance.updates.live import LiveTraffic
from appliance.updates.request import Box, InstallEvent, InstallRequest, Standing, Tell, choose
from appliance.updates.watch import Watch, log_event

LOG = logging.getLogger(__name__)
S = InstallState
TICK_S = 0.5


@dataclass(frozen=True)
class InstalledModel:
    """How one role stands with releases."""

    role: Role
    record: RoleRecord
    current: str  # name and version of the release that serves; empty for a factory pack
    previous: str  # of the one before; empty for a factory pack
    install: Install | None  # the last one


@dataclass(frozen=True)
class Check:
    """One thing that was verified."""

    name: str
    passed: bool
    detail: str


class ModelUpdates:
    """Releases on this box.

    Args:
        tools: collaborators.
        live: counts live traffic.
        history: what happened.
        evidence: reports of the gate.
        room: has the exams.
        box: who this box is.
        settings: limits.
    """

    def __init__(
        self,
        tools: Tools,
        live: LiveTraffic,
        history: History,
        evidence: EvidenceStore,
        room: ExamRoom,
        box: Box,
        settings: ReleasesConfig,
    ) -> None:
        self._tools = tools
        self._live = live
        self._history = history
        self._evidence = evidence
        self._room = room
        self._box = box
        self._installer = Installer(tools)
        self._busy = threading.Lock()
        self._start_up = StartUp(tools, self._installer, settings.max_starts)
        self._watch = Watch(tools, self._installer, live, settings, self._busy)
        self._job: Job | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def directories(self) -> list[Path]:
        """What a start loads, one pack for each role; see `StartUp.directories`."""
        return self._start_up.directories()

    def serving(self) -> list[Path]:
        """The pack directories of what serves now."""
        return self._start_up.serving()

    def seal_site_set(self, role: Role) -> str:
        """Seal the laboratory's own exam of a role as it lies there; its SHA-256."""
        return self._room.seal(role)

    def begin(self, *, watch: bool = True) -> None:
        """After the models were loaded: stand in for what could not be, carry on what was cut off, watch.

        Args:
            watch: on a thread of its own; a test carries on and ticks by itself.
        """
        for role in Role:
            self._start_up.stand_in(role)
        if watch:
            self._thread = threading.Thread(target=self._keep_watch, name="model-updates", daemon=True)
            self._thread.start()

    def carry_on(self) -> None:
        """Go on with every install that was cut off, and delete what nothing needs."""
        for role in Role:
            try:
                self._start_up.reconcile(role)
            except StorageUnavailable as exc:
                LOG.error("the records of %s could not be brought together: %s", role.value, exc)
            self._carry_on(role)
        self._installer.collect_garbage()

    def tick(self) -> None:
        """See `Watch.tick`."""
        self._watch.tick()

    def stop(self) -> None:
        """Stop watching; an install under way is left for the next start to carry on."""
        self._stopping.set()
        job = self._job
        if job is not None:
            job.stopping = True
            job.cancelled.set()
        if self._thread is not None:
            self._thread.join()

    def install(self, request: InstallRequest, tell: Tell) -> tuple[Install, ...]:
        """Install what a source offers; the installs as they ended, none where nothing is newer.

        Raises:
            LimitExceeded: another install runs.
            NotFound, ReleaseRefused, SourceUnavailable, StorageUnavailable, Cancelled: see `Installer.drive`.
        """
        with _Turn(self, tell) as job:
            job.source = self._tools.open_source(request.source)
            trust = self._tools.open_trust()
            offers = trust.refresh(job.source)
            installs = []
            for offer in choose(offers, request, self._box, self._standing()):
                job.release = trust.release(offer, job.source)
                installs.append(self._begin(offer, request, job))
            return tuple(installs)

    def activate(self, role: Role, requested_by: str, tell: Tell) -> Install:
        """Let a release that passed the gate take over.

        Raises:
            NotFound: none waits for that.
        """
        with _Turn(self, tell) as job:
            install = self._tools.records.read(role.value)
            if install is None or install.state not in (S.PASSED, S.SHADOWING):
                state = f"one that is {install.state.value}" if install is not None else "none"
                raise NotFound(f"expected a release for {role.value} that passed the gate and got {state}")
            if install.state is S.SHADOWING:
                self._live.end(role)
                install = self._tools.records.enter(install, S.ACTIVATING, f"activated by {requested_by}")
            else:
                install = replace(install, activate=True, shadow=False, requested_by=requested_by)
            return self._watch.begin(self._installer.drive(install, job))

    def roll_back(self, role: Role, requested_by: str, tell: Tell) -> InstalledModel:
        """Let the model before serve again.

        Raises:
            NotFound: a factory pack serves and there is nothing before it.
        """
        with _Turn(self, tell):
            record = self._tools.roles.read(role.value)
            install = self._tools.records.read(role.value)
            if record.current is None and record.previous is None:
                raise NotFound(f"expected a model before the one of {role.value} and got only the factory's")
            self._live.end(role)
            reason = f"rolled back by {requested_by}"
            serving = install is not None and install.bundle_id == record.current
            if install is not None and serving and install.state in (S.CONFIRMING, S.GOOD):
                self._installer.roll_back(install, reason)
            else:
                self._tools.roles.write(role.value, record.rolled_back())
                self._tools.models.activate(self._installer.previous_pack(role))
            installed = self._installed(role)
            tell(InstallEvent(S.ROLLED_BACK, role.value, installed.current or "factory pack", reason))
            return installed

    def cancel(self) -> bool:
        """Stop the install under way where its state allows it; False where none runs."""
        job = self._job
        if job is None:
            return False
        job.cancelled.set()
        return True

    def verify(self) -> tuple[Check, ...]:
        """Read back every stored bundle and record."""
        checks = []
        for role in Role:
            record = self._tools.roles.read(role.value)
            damaged = self._tools.roles.damaged(role.value)
            checks.append(
                Check(
                    f"record of {role.value}", not damaged, ", ".join(damaged) or self._title(record.current)
                )
            )
            for what, bundle_id in (("serves", record.current), ("served before", record.previous)):
                if bundle_id is not None:
                    wrong = self._tools.bundles.damage(bundle_id)
                    title = wrong or self._title(bundle_id)
                    checks.append(Check(f"what {what} {role.value}", wrong is None, title))
        return tuple(checks)

    def installed(self) -> tuple[InstalledModel, ...]:
        """All roles."""
        return tuple(self._installed(role) for role in Role)

    def history(self, limit: int) -> tuple[Event, ...]:
        """What happened, newest first."""
        return self._history.newest(limit)

    def evidence(self, evidence_id: str) -> str:
        """A report of the gate, JSON; NotFound where there is none."""
        return self._evidence.get(evidence_id)

    def _begin(self, offer: Offer, request: InstallRequest, job: Job) -> Install:
        facts = offer.facts
        before = self._tools.records.read(facts.role)
        record = self._tools.roles.read(facts.role)
        if before is not None and before.bundle_id == offer.bundle_id and before.state not in ENDED:
            again = replace(before, source=request.source, activate=request.activate, shadow=request.shadow)
            return self._watch.begin(self._installer.drive(again, job))
        whole = self._tools.bundles.damage(offer.bundle_id) is None
        if record.current == offer.bundle_id and record.confirmed and before is not None and whole:
            job.tell(InstallEvent(S.GOOD, facts.role, facts.title, "it serves already"))
            return before
        install = Install(
            bundle_id=offer.bundle_id,
            role=facts.role,
            name=facts.name,
            version=facts.version,
            counter=facts.counter,
            path=offer.path,
            source=request.source,
            requested_by=request.requested_by,
            approved_by=offer.approved_by,
            activate=request.activate,
            shadow=request.shadow,
            state=S.DOWNLOADING,
        )
        return self._watch.begin(self._installer.drive(self._tools.records.begin(install), job))

    def _keep_watch(self) -> None:
        self.carry_on()
        while not self._stopping.wait(TICK_S):
            try:
                self._watch.tick()
            except ApplianceError as exc:
                LOG.error("watching the models on trial failed: %s", exc)
            except Exception:  # the thread's edge: a fault here must not end the watch
                LOG.exception("watching the models on trial failed")

    def _carry_on(self, role: Role) -> None:
        install = self._tools.records.read(role.value)
        if install is None or self._stopping.is_set():
            return
        action = AFTER_CUT[install.state]
        try:
            if action is AfterCut.CARRY_ON:
                with _Turn(self, log_event) as job:
                    self._watch.begin(self._installer.drive(install, job))
            elif action is AfterCut.CONFIRM:
                self._watch.begin(install)
        except ApplianceError as exc:
            LOG.warning("the install of %s was not carried on: %s", install.title, exc)

    def _standing(self) -> dict[str, Standing]:
        found = {}
        for role in Role:
            record = self._tools.roles.read(role.value)
            bundle = self._tools.bundles.find(record.current) if record.current is not None else None
            last = self._tools.records.read(role.value)
            dropped = last is not None and last.state in (S.REFUSED, S.ROLLED_BACK)
            found[role.value] = Standing(
                counter=max(record.counter, bundle.facts.counter if bundle is not None else 0),
                serving=bundle.bundle_id if bundle is not None else None,
                dropped=last.bundle_id if last is not None and dropped else None,
            )
        return found

    def _installed(self, role: Role) -> InstalledModel:
        record = self._tools.roles.read(role.value)
        return InstalledModel(
            role,
            record,
            self._title(record.current),
            self._title(record.previous),
            self._tools.records.read(role.value),
        )

    def _title(self, bundle_id: str | None) -> str:
        bundle = self._tools.bundles.find(bundle_id) if bundle_id is not None else None
        return bundle.facts.title if bundle is not None else ""


class _Turn:
    """One install at a time."""

    def __init__(self, updates: ModelUpdates, tell: Tell) -> None:
        self._updates = updates
        self._job = Job(tell)

    def __enter__(self) -> Job:
        if not self._updates._busy.acquire(timeout=TICK_S * 4):
            raise LimitExceeded("another install runs on this box; `appliance models list` shows it", 30.0)
        self._updates._job = self._job
        return self._job

    def __exit__(self, *_: object) -> None:
        self._updates._job = None
        self._updates._busy.release()
