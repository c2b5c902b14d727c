"""Where each install stands, on the disk and in the history: written before it is acted on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from appliance.bundles.durable import DurableFiles
from appliance.bundles.history import Event, History
from appliance.bundles.install_state import ENDED, Install, InstallState, check_transition
from appliance.bundles.slots import SlotFile
from appliance.clock import Clock

S = InstallState
TOLD = frozenset(
    {
        S.DOWNLOADING,
        S.PASSED,
        S.SHADOWING,
        S.CONFIRMING,
        S.GOOD,
        S.REFUSED,
        S.FAILED,
        S.CANCELLED,
        S.ROLLED_BACK,
    }
)
"""States that go into the history; the others follow from them."""


class InstallRecords:
    """The last install of each role.

    Args:
        root: folder of the model releases.
        files: makes writing durable.
        history: is told.
        clock: dates it.
    """

    def __init__(self, root: Path, files: DurableFiles, history: History, clock: Clock) -> None:
        self._folder = root / "installs"
        self._files = files
        self._history = history
        self._clock = clock

    def read(self, role: str) -> Install | None:
        """The last install of a role; None where there was none or its record is damaged."""
        tree = self._slots(role).read()
        try:
            return Install.from_tree(tree) if tree is not None else None
        except (ValueError, KeyError, TypeError):
            return None

    def begin(self, install: Install) -> Install:
        """Write the first state of an install."""
        self._files.make_directory(self._folder)
        self._slots(install.role).write(install.to_tree())
        self._tell(install, "")
        return install

    def enter(
        self,
        install: Install,
        state: InstallState,
        detail: str = "",
        *,
        engine: str = "",
        evidence: str | None = None,
    ) -> Install:
        """Write the next state; ValueError where the table does not have it."""
        check_transition(install.state, state)
        after = replace(
            install,
            state=state,
            detail=detail,
            evidence=install.evidence if evidence is None else evidence,
        )
        self._slots(install.role).write(after.to_tree())
        if state in TOLD:
            self._tell(after, engine)
        return after

    def kept_bundles(self, roles: tuple[str, ...]) -> frozenset[str]:
        """Bundles of installs that go on, and parts of those that can be repeated."""
        found = [install for role in roles if (install := self.read(role)) is not None]
        return frozenset(
            install.bundle_id
            for install in found
            if install.state not in ENDED or install.state is InstallState.FAILED
        )

    def note(self, install: Install, what: str, detail: str, engine: str = "") -> None:
        """An event of the history that is no state."""
        self._history.add(self._event(install, what, detail, engine))

    def _tell(self, install: Install, engine: str) -> None:
        self._history.add(self._event(install, install.state.value, install.detail, engine))

    def _event(self, install: Install, what: str, detail: str, engine: str) -> Event:
        return Event(
            at_ms=self._clock.now_ms(),
            role=install.role,
            name=install.name,
            version=install.version,
            bundle_id=install.bundle_id,
            what=what,
            detail=detail,
            engine=engine,
            requested_by=install.requested_by,
            approved_by=install.approved_by,
            evidence=install.evidence,
        )

    def _slots(self, role: str) -> SlotFile:
        return SlotFile(self._files, self._folder, role)
