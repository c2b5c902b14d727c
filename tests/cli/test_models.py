"""`appliance models` as a technician types it, against a daemon in a process of its own with real engines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli import main
from appliance.client import ApplianceClient, LocalDaemon
from appliance.updates.exam_room import SHIPPED
from tests.simulators.contract_packs import write_packs
from tests.simulators.releases import Centre

TITLE = "karyotype-classifier 0.0.2"


@pytest.fixture(scope="module")
def box(
    tmp_path_factory: pytest.TempPathFactory,
    engine_cache_home: None,  # noqa: ARG001
) -> Iterator[tuple[LocalDaemon, Path]]:
    folder = tmp_path_factory.mktemp("releases")
    packs = write_packs(folder / "packs")
    centre = Centre(folder / "repository", now=datetime.now(timezone.utc))
    newer = write_packs(folder / "newer") / "karyotype-classifier"
    manifest = newer / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": "0.0.1"', '"version": "0.0.2"'))
    centre.release(newer, 1, latency_ms_p95=60_000, memory_mib=4000)
    settings = folder / "appliance.toml"
    root = centre.folder / "metadata" / "1.root.json"
    settings.write_text(f'[models]\ndirectory = "{packs}"\n[releases]\nroot = "{root}"\nmargin = 1.0\n')
    with LocalDaemon(("--config", str(settings))) as daemon, ApplianceClient(daemon.address) as client:
        daemon.wait_until_started(client)
        yield daemon, centre.folder


def type_(box: tuple[LocalDaemon, Path], *words: str) -> str:
    result = CliRunner().invoke(main, ["models", *words, "--server", box[0].address], env={"COLUMNS": "250"})
    assert result.exit_code == 0, result.output
    return result.output


def test_from_a_folder_to_a_model_that_serves_and_back(box: tuple[LocalDaemon, Path], tmp_path: Path) -> None:
    said = type_(box, "install", str(box[1]), "--by", "a technician")
    for state in ("downloading", "verifying", "staged", "compiling", "testing", "passed", "confirming"):
        assert f"{TITLE}: {state}" in said
    assert f"{TITLE} is confirming" in said
    listed = type_(box, "list")
    assert f"{TITLE} (release)" in listed
    history = type_(box, "history")
    assert "a technician" in history
    assert "targets-1, targets-2" in history
    assert "what serves karyotype.classifier" in type_(box, "verify")
    evidence = said.rpartition("Evidence ")[2].strip().rstrip(".")
    type_(box, "evidence", evidence, "--output", str(tmp_path / "report.json"))
    assert json.loads((tmp_path / "report.json").read_text())["report"]["passed"]
    assert "the factory pack serves" in type_(box, "rollback", "karyotype.classifier")
    assert "karyotype-classifier 0.0.1 (factory pack)" in type_(box, "list")
    assert "No install is under way" in type_(box, "cancel")


def test_a_folder_that_is_no_release_is_said_to_be_none(
    box: tuple[LocalDaemon, Path], tmp_path: Path
) -> None:
    result = CliRunner().invoke(main, ["models", "install", str(tmp_path), "--server", box[0].address])
    assert result.exit_code == 1
    assert "cannot fetch release metadata" in result.output


def test_a_laboratory_seals_its_own_exam(tmp_path: Path) -> None:
    def seal() -> Result:
        words = ["models", "seal", "karyotype.classifier", "--state-dir", str(tmp_path)]
        return CliRunner().invoke(main, words)

    assert "expected a site set" in seal().output
    folder = tmp_path / "releases" / "site-exams"
    folder.mkdir()
    shutil.copyfile(SHIPPED / "karyotype.classifier.npz", folder / "karyotype.classifier.npz")
    assert seal().output.startswith("sealed, sha256 ")
    assert (folder / "karyotype.classifier.seal").exists()
