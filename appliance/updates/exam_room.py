"""Which exams a candidate sits: the daemon's own, and the laboratory's sealed set where there is one.

A laboratory's set is `site-exams/ROLE.npz` in the releases folder. `ROLE.seal` beside it carries its hash,
signed with the device key: a set that was changed after it was sealed is refused, and so is every candidate
until then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.bundles.durable import DurableFiles
from appliance.errors import NotFound, ReleaseRefused
from appliance.models.manifest import Role
from appliance.updates.evidence import DeviceKey, Evidence, canonical, verify_evidence
from appliance.updates.exam import Exam

SHIPPED = Path(__file__).parent / "exams"
SITE_FOLDER = "site-exams"
SHIPPED_NAME, SITE_NAME = "golden set", "site set"


@dataclass(frozen=True)
class ExamPaper:
    """One exam of a role."""

    name: str
    path: Path
    sha256: str
    floor: float  # mean score asked for where there is no incumbent


class ExamRoom:
    """Finds the exams of a role.

    Args:
        root: folder of the model releases.
        key: the device's, for seals.
        files: makes writing durable.
        shipped: folder of the daemon's own exams.
    """

    def __init__(self, root: Path, key: DeviceKey, files: DurableFiles, shipped: Path = SHIPPED) -> None:
        self._site = root / SITE_FOLDER
        self._key = key
        self._files = files
        self._shipped = shipped

    def papers(self, role: Role) -> tuple[ExamPaper, ...]:
        """The exams of a role.

        Raises:
            ReleaseRefused: a site set is not what was sealed, or was never sealed.
        """
        found = []
        shipped = self._shipped / f"{role.value}.npz"
        if shipped.is_file():
            found.append(_paper(SHIPPED_NAME, shipped))
        site = self._site / f"{role.value}.npz"
        if site.is_file():
            paper = _paper(SITE_NAME, site)
            self._check_seal(role, paper)
            found.append(paper)
        return tuple(found)

    def seal(self, role: Role) -> str:
        """Seal the site set of a role as it lies there; its SHA-256."""
        site = self._site / f"{role.value}.npz"
        if not site.is_file():
            raise NotFound(f"expected a site set at {site} and got nothing")
        report = {"role": role.value, "sha256": Exam.read(site).sha256}
        seal = Evidence(role.value, report, self._key.public, self._key.sign(canonical(report)))
        self._files.write(site.with_suffix(".seal"), seal.to_json().encode())
        return str(report["sha256"])

    def _check_seal(self, role: Role, paper: ExamPaper) -> None:
        try:
            sealed: Mapping[str, object] = verify_evidence(
                paper.path.with_suffix(".seal").read_text(), self._key.public
            )
        except (OSError, ValueError, json.JSONDecodeError) as exc:
            raise ReleaseRefused(f"the site set of {role.value} is not sealed by this box: {exc}") from exc
        if sealed.get("sha256") != paper.sha256:
            raise ReleaseRefused(
                f"expected the site set of {role.value} as it was sealed and got another (sha256"
                f" {paper.sha256[:12]})"
            )


def _paper(name: str, path: Path) -> ExamPaper:
    exam = Exam.read(path)
    floor = exam.arrays.get("floor")
    return ExamPaper(name, path, exam.sha256, float(floor) if floor is not None else 0.0)
