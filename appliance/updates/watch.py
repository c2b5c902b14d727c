"""Watches the models on trial: lets them see live requests, and decides when enough is known."""

from __future__ import annotations

import logging
import threading

from appliance.bundles.install_state import Install, InstallState
from appliance.config import ReleasesConfig
from appliance.errors import ApplianceError
from appliance.models.manifest import Role
from appliance.updates.confirmation import ConfirmationRule, Decision, confirm, shadow
from appliance.updates.installer import Installer, Job, Tools
from appliance.updates.live import LiveTraffic
from appliance.updates.request import InstallEvent

LOG = logging.getLogger(__name__)
S = InstallState


class Watch:
    """Decides about installs that are CONFIRMING or SHADOWING.

    Args:
        tools, installer: collaborators.
        live: counts live traffic.
        settings: limits.
        busy: held while an install runs; a decision waits for it.
    """

    def __init__(
        self,
        tools: Tools,
        installer: Installer,
        live: LiveTraffic,
        settings: ReleasesConfig,
        busy: threading.Lock,
    ) -> None:
        self._tools = tools
        self._installer = installer
        self._live = live
        self._settings = settings
        self._busy = busy

    def begin(self, install: Install) -> Install:
        """Count for an install that serves unconfirmed or shadows; the install."""
        role = Role(install.role)
        if install.state is S.CONFIRMING:
            self._live.begin(role, self._tools.models.status(role).identity)
        elif install.state is S.SHADOWING:
            self._live.begin(role, None)
        return install

    def tick(self) -> None:
        """Compare one request for each role on trial, and decide where enough is known."""
        for role in Role:
            install = self._tools.records.read(role.value)
            if install is None or install.state not in (S.CONFIRMING, S.SHADOWING):
                continue
            self._live.compare_one(role)
            if self._busy.acquire(blocking=False):
                try:
                    self._decide(role, install)
                finally:
                    self._busy.release()

    def _decide(self, role: Role, install: Install) -> None:
        counts = self._live.counts(role)
        now = self._tools.records.read(role.value)
        if counts is None or now != install:
            return
        rule = self._rule(install)
        decide = confirm if install.state is S.CONFIRMING else shadow
        decision, reason = decide(counts, rule)
        if decision is Decision.WAIT:
            return
        self._live.end(role)
        try:
            if install.state is S.CONFIRMING:
                if decision is Decision.ACCEPT:
                    self._installer.confirm(install, reason)
                else:
                    self._installer.roll_back(install, reason)
            elif decision is Decision.ACCEPT:
                going = self._tools.records.enter(install, S.ACTIVATING, f"promoted: {reason}")
                self.begin(self._installer.drive(going, Job(log_event)))
            else:
                self._tools.records.enter(install, S.REFUSED, f"in the shadow: {reason}")
                self._tools.models.let_go(role)
                self._installer.collect_garbage()
        except ApplianceError as exc:
            LOG.error("%s: %s", install.title, exc)

    def _rule(self, install: Install) -> ConfirmationRule:
        settings = self._settings
        shadowing = install.state is S.SHADOWING
        bundle = self._tools.bundles.find(install.bundle_id)
        budget_ms = bundle.facts.latency_ms_p95 if bundle is not None else float("inf")
        return ConfirmationRule(
            requests=settings.shadow_requests if shadowing else settings.confirm_requests,
            seconds=(settings.shadow_hours if shadowing else settings.confirm_hours) * 3600,
            max_failures=settings.max_failures,
            max_latency_ms=budget_ms * settings.max_slowdown,
            min_agreement=settings.min_agreement,
        )


def log_event(event: InstallEvent) -> None:
    """For what the box does alone: its log is the progress display."""
    LOG.info("%s: %s %s", event.title, event.state.value, event.detail)
