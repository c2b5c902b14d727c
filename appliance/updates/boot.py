"""What a start of the daemon does about releases before and after its models are loaded; needs no network."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from appliance.bundles.install_state import InstallState
from appliance.bundles.roles import RoleRecord
from appliance.errors import ApplianceError, StorageUnavailable
from appliance.models.manifest import Role
from appliance.models.registry import ModelState
from appliance.updates.installer import Installer, Tools

LOG = logging.getLogger(__name__)
UNCONFIRMED = (InstallState.ACTIVATING, InstallState.CONFIRMING)


class StartUp:
    """Chooses what is loaded, and stands in for what could not be.

    Args:
        tools, installer: collaborators.
        max_starts: of the daemon on a model that was never confirmed.
    """

    def __init__(self, tools: Tools, installer: Installer, max_starts: int) -> None:
        self._tools = tools
        self._installer = installer
        self._max_starts = max_starts

    def directories(self) -> list[Path]:
        """What a start loads, one pack for each role; counts the start of every unconfirmed one.

        A model on which the daemon started `max_starts` times without its being confirmed is rolled back
        here, before it is loaded: no network and no request is needed for that.
        """
        for role in Role:
            record = self._tools.roles.read(role.value)
            if not record.confirmed and record.starts >= self._max_starts:
                self._give_up(role, record)
            elif not record.confirmed:
                self._write(role, record.started())
        return self.serving()

    def serving(self) -> list[Path]:
        """The pack directories of what serves now: releases, and factory packs where there is none."""
        found = []
        for role in Role:
            record = self._tools.roles.read(role.value)
            bundle = self._tools.bundles.find(record.current) if record.current is not None else None
            directory = bundle.directory if bundle is not None else self._tools.factory(role)
            if directory is not None:
                found.append(directory)
        return list(dict.fromkeys(found))

    def stand_in(self, role: Role) -> None:
        """Where the release of a role could not be loaded, the one before serves, else the factory's."""
        record = self._tools.roles.read(role.value)
        status = self._tools.models.status(role)
        bundle = self._tools.bundles.find(record.current) if record.current is not None else None
        loaded = status.state is ModelState.READY
        if record.current is None or (loaded and bundle is not None):
            return
        reason = status.reason or "its bundle is missing or damaged"
        LOG.error("the release of %s could not be loaded: %s", role.value, reason)
        self._write_rollback(role, record, reason)
        self._write(role, replace(record.rolled_back(), previous=None))
        try:
            self._tools.models.activate(self._installer.previous_pack(role))
        except ApplianceError as exc:
            LOG.error("nothing can stand in for %s: %s", role.value, exc)

    def reconcile(self, role: Role) -> None:
        """Bring the role's record and its last install together, where a damaged copy set one of them
        back.
        """
        record = self._tools.roles.read(role.value)
        install = self._tools.records.read(role.value)
        if install is None:
            return
        serves = record.current == install.bundle_id
        if install.state is InstallState.CONFIRMING and not serves:
            self._tools.records.enter(
                install, InstallState.ROLLED_BACK, "another model serves after a damage"
            )
        elif install.state is InstallState.GOOD and serves and not record.confirmed:
            self._write(role, record.confirmed_good(install.counter))

    def _give_up(self, role: Role, record: RoleRecord) -> None:
        reason = f"the daemon started {record.starts} times on it and it was never confirmed"
        self._write(role, record.rolled_back())
        LOG.error("the model of %s is rolled back: %s", role.value, reason)
        self._write_rollback(role, record, reason)

    def _write(self, role: Role, record: RoleRecord) -> None:
        try:
            self._tools.roles.write(role.value, record)
        except StorageUnavailable as exc:
            LOG.error("the record of %s could not be written: %s", role.value, exc)

    def _write_rollback(self, role: Role, record: RoleRecord, reason: str) -> None:
        install = self._tools.records.read(role.value)
        if install is None or install.bundle_id != record.current or install.state not in UNCONFIRMED:
            return
        try:
            self._tools.records.enter(install, InstallState.ROLLED_BACK, reason)
        except StorageUnavailable as exc:
            LOG.error("the rollback could not be written into the history: %s", exc)
