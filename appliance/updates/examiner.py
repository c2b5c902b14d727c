"""Holds the exam: trials of candidate and incumbent, the gate's verdict, and the signed report of it."""

from __future__ import annotations

import platform
import threading
from dataclasses import asdict
from typing import Any

import numpy as np

from appliance import RESEARCH_USE_ONLY, __version__
from appliance.bundles.install_state import Install
from appliance.bundles.release import ReleaseFacts
from appliance.clock import Clock, TimeOrderedIds
from appliance.errors import ModelUnavailable, PackRejected, ReleaseRefused
from appliance.models.manifest import Role
from appliance.models.pack import ModelPack
from appliance.models.registry import ModelRegistry
from appliance.updates.evidence import EvidenceStore
from appliance.updates.exam_room import ExamPaper, ExamRoom
from appliance.updates.gate import GateLimits, GateLine, Verdict, contract_line, judge
from appliance.updates.trial import Trial, p95
from appliance.updates.trials import Trials


class Examiner:
    """Decides whether a staged pack may serve on this box.

    Args:
        trials: measures.
        room: has the exams.
        models: knows the incumbent.
        evidence: keeps the report.
        limits: of the gate.
        clock: dates the report.
    """

    def __init__(
        self,
        trials: Trials,
        room: ExamRoom,
        models: ModelRegistry,
        evidence: EvidenceStore,
        limits: GateLimits,
        clock: Clock,
    ) -> None:
        self._trials = trials
        self._room = room
        self._models = models
        self._evidence = evidence
        self._limits = limits
        self._clock = clock
        self._ids = TimeOrderedIds(clock)

    def check_contract(self, install: Install, facts: ReleaseFacts, pack: ModelPack) -> None:
        """Refuse a pack whose contract the pipeline does not know, before an engine is built for it.

        Raises:
            ReleaseRefused: with the evidence kept.
        """
        line = self._contract_line(pack)
        if pack.contract_hash != facts.contract_hash:
            raise ReleaseRefused(
                f"expected contract {facts.contract_hash[:12]} as it was signed"
                f" and got {pack.contract_hash[:12]} in the pack"
            )
        if not line.passed:
            evidence = self._report(install, facts, pack, Verdict((line,)), (), Trial(), None)
            raise ReleaseRefused(f"the gate: {line.sentence} (evidence {evidence})")

    def examine(
        self, install: Install, facts: ReleaseFacts, pack: ModelPack, cancelled: threading.Event
    ) -> tuple[Verdict, str, str]:
        """Measure and judge; the verdict, the id of its report, and the engine that ran."""
        papers = self._room.papers(pack.manifest.role)
        exams = {paper.name: paper.path for paper in papers}
        candidate = self._trials.run(pack.directory, exams, cancelled)
        incumbent = self._incumbent(pack.manifest.role)
        before = (
            self._trials.run(incumbent.directory, exams, cancelled)
            if incumbent is not None and exams and not candidate.fault
            else None
        )
        judged = judge(
            facts,
            pack.manifest.precision,
            candidate,
            before,
            {paper.name: paper.floor for paper in papers},
            self._limits,
        )
        verdict = Verdict((self._contract_line(pack), *judged.lines))
        evidence = self._report(install, facts, pack, verdict, papers, candidate, before)
        return verdict, evidence, candidate.engine

    def _contract_line(self, pack: ModelPack) -> GateLine:
        try:
            self._models.check_contract(pack)
        except PackRejected as exc:
            return contract_line(pack.contract_hash, str(exc))
        return contract_line(pack.contract_hash)

    def _incumbent(self, role: Role) -> ModelPack | None:
        try:
            with self._models.acquire(role) as lease:
                return lease.pack
        except ModelUnavailable:
            return None

    def _report(
        self,
        install: Install,
        facts: ReleaseFacts,
        pack: ModelPack,
        verdict: Verdict,
        papers: tuple[ExamPaper, ...],
        candidate: Trial,
        incumbent: Trial | None,
    ) -> str:
        evidence_id = self._ids.next()
        report: dict[str, Any] = {
            "notice": RESEARCH_USE_ONLY,
            "evidence_id": evidence_id,
            "at_ms": self._clock.now_ms(),
            "daemon": __version__,
            "machine": f"{platform.machine()}, {platform.processor() or 'unknown'}, {platform.platform()}",
            "release": {
                "path": install.path,
                "bundle_id": install.bundle_id,
                "source": install.source,
                "requested_by": install.requested_by,
                "approved_by": list(install.approved_by),
                "facts": facts.model_dump(mode="json"),
                "pack_digest": pack.digest,
            },
            "limits": asdict(self._limits),
            "exams": [{"name": paper.name, "sha256": paper.sha256} for paper in papers],
            "passed": verdict.passed,
            "lines": [asdict(line) for line in verdict.lines],
            "candidate": _figures(candidate),
            "incumbent": _figures(incumbent) if incumbent is not None else None,
        }
        self._evidence.keep(evidence_id, report)
        return evidence_id


def _figures(trial: Trial) -> dict[str, Any]:
    return {
        "engine": trial.engine,
        "fault": trial.fault,
        "known_answers": [asdict(one) for one in trial.known_answers],
        "parity": list(trial.parity),
        "latency_ms": list(trial.latency_ms),
        "latency_ms_p95": p95(trial.latency_ms) if trial.latency_ms else None,
        "memory_mib": trial.memory_mib,
        "scores": {
            name: {"mean": float(np.mean(scores)), "n": len(scores)} for name, scores in trial.scores.items()
        },
    }
