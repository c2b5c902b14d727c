"""Packs that are wrong in exactly one way fail the gate on exactly that line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.bundles.durable import DurableFiles
from appliance.bundles.release import ReleaseFacts
from appliance.errors import ReleaseRefused
from appliance.models.manifest import Precision
from appliance.updates.evidence import DeviceKey, verify_evidence
from appliance.updates.gate import GateLimits, judge, non_inferiority
from appliance.updates.trial import KnownAnswer, Trial
from tests.simulators.linear import ROLE, exam_arrays, weights
from tests.updates.conftest import Fleet

Tree = dict[str, Any]


def shifted_labels(tree: Tree) -> None:
    names = tree["labels"]["names"]
    tree["labels"]["names"] = names[1:] + names[:1]


def other_normalisation(tree: Tree) -> None:
    tree["preprocessing"]["parameters"]["width"] = 9


def int8(tree: Tree) -> None:
    tree["precision"] = "INT8"


@dataclass(frozen=True)
class Wrong:
    """One way to be wrong."""

    line: str
    says: str
    matrix: Callable[[], Any] = lambda: weights(2)
    golden: Callable[[], Any] | None = None
    change: Callable[[Tree], None] | None = None
    graph: dict[str, Any] = field(default_factory=dict)


WRONG = {
    "labels shifted by one in the manifest": Wrong("contract", "expected a contract", change=shifted_labels),
    "labels shifted by one in the weights": Wrong(
        "metric (golden set)", "difference of at least -0.02", lambda: np.roll(weights(2), 1, axis=1)
    ),
    "normalisation changed in the manifest": Wrong(
        "contract", "expected a contract", change=other_normalisation
    ),
    "normalisation changed in the weights": Wrong(
        "metric (golden set)", "against 1.0000", lambda: weights(2) * np.linspace(-1, 1, 64)[:, None]
    ),
    "weights noised, answers measured again": Wrong(
        "metric (golden set)",
        "against 1.0000",
        lambda: weights(2) + np.random.default_rng(1).normal(0, 0.9, (64, 24)).astype(np.float32),
    ),
    "weights noised, answers as they were": Wrong(
        "known answers",
        "cosine of at least 0.999",
        lambda: weights(2) + np.random.default_rng(1).normal(0, 0.04, (64, 24)).astype(np.float32),
        golden=lambda: weights(2),
    ),
    "INT8 far from float": Wrong(
        "INT8 parity", "at least 0.98 and got 0.9", change=int8, graph={"parity": 0.9}
    ),
    "too slow": Wrong(
        "latency", "at most 200 ms (p95) and got 260.0 ms (p95) (+30%)", graph={"latency_ms": 260}
    ),
    "too large": Wrong("memory", "at most 100 MiB and got 150.0 MiB (+50%)", graph={"memory_mib": 150}),
    "cannot be run": Wrong("engine", "fails on every input", graph={"fails": True}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_pack_that_is_wrong_in_one_way_fails_on_that_line(
    make_fleet: Callable[[], Fleet], name: str
) -> None:
    wrong = WRONG[name]
    fleet = make_fleet()
    pack = fleet.pack(
        "1.0.0",
        matrix=wrong.matrix(),
        golden_matrix=wrong.golden() if wrong.golden else None,
        change=wrong.change,
        **wrong.graph,
    )
    fleet.centre.release(pack, 1)
    box = fleet.box().start()

    with pytest.raises(ReleaseRefused) as refused:
        box.install(fleet.source)

    event = box.updates.history(1)[0]
    report = verify_evidence(box.updates.evidence(_evidence_of(box.state)))
    failed = [line for line in report["lines"] if not line["passed"]]
    assert [line["name"] for line in failed] == [wrong.line]
    assert wrong.says in failed[0]["sentence"]
    assert wrong.says in str(refused.value)
    assert event.what == "refused"
    assert wrong.says in event.detail
    assert not report["passed"]
    assert box.version == "0.9.0"
    assert box.answers_well()
    assert not list((box.state / "releases" / "bundles").iterdir())


def test_a_graph_that_cannot_be_compiled_is_refused(make_fleet: Callable[[], Fleet]) -> None:
    fleet = make_fleet()
    fleet.centre.release(fleet.pack("1.0.0", crash=True), 1)
    box = fleet.box().start()
    with pytest.raises(ReleaseRefused, match="could not be built on this box"):
        box.install(fleet.source)
    assert box.answers_well()


def test_a_site_set_counts_once_it_is_sealed(fleet: Fleet) -> None:
    box = fleet.box().start()
    folder = box.state / "releases" / "site-exams"
    folder.mkdir()
    save: Callable[..., None] = np.savez
    save(folder / f"{ROLE.value}.npz", **exam_arrays(60, 77))
    with pytest.raises(ReleaseRefused, match="is not sealed by this box"):
        box.install(fleet.source)
    box.updates.seal_site_set(ROLE)
    assert box.install(fleet.source) == ("confirming",)
    report = verify_evidence(box.updates.evidence(box.updates.history(1)[0].evidence))
    assert "metric (site set)" in [line["name"] for line in report["lines"]]

    save(folder / f"{ROLE.value}.npz", **exam_arrays(60, 78))
    fleet.centre.release(fleet.pack("1.1.0", seed=4), 2)
    with pytest.raises(ReleaseRefused, match="as it was sealed and got another"):
        box.install(fleet.source)


def test_without_an_incumbent_the_exam_has_a_floor() -> None:
    limits = GateLimits(margin=0.02, min_parity=0.98)
    good = _trial((1.0,) * 9 + (0.0,))
    poor = _trial((1.0,) * 8 + (0.0,) * 2)
    for trial, passes in ((good, True), (poor, False)):
        verdict = judge(_facts(), Precision.FP32, trial, None, {"golden set": 0.9}, limits)
        assert verdict.passed is passes


def test_a_pack_without_known_answers_does_not_pass() -> None:
    verdict = judge(
        _facts(), Precision.FP32, Trial(latency_ms=(1.0,)), None, {}, GateLimits(margin=0.02, min_parity=0.98)
    )
    assert not verdict.passed
    assert "expected known answers in the pack and got none" in verdict.complaint


def test_non_inferiority_is_paired() -> None:
    before = [1.0, 0.0] * 100
    assert non_inferiority(before, before) == 0.0
    worse = [0.0 if n % 20 == 0 else score for n, score in enumerate(before)]
    assert -0.09 < non_inferiority(worse, before) < -0.02
    with pytest.raises(ValueError, match="pairs of scores"):
        non_inferiority([1.0], [1.0, 0.0])


def test_evidence_that_was_changed_does_not_verify(fleet: Fleet) -> None:
    box = fleet.box().start()
    box.install(fleet.source)
    text = box.updates.evidence(_evidence_of(box.state))
    assert verify_evidence(text)["passed"]
    with pytest.raises(ValueError, match="expected a signed report"):
        verify_evidence(text.replace('"passed": true', '"passed": false', 1))
    with pytest.raises(ValueError, match="got one of"):
        verify_evidence(text, device="another")


def test_the_device_key_is_for_the_daemon_alone(fleet: Fleet) -> None:
    box = fleet.box().start()
    folder = box.state / "releases"
    path = folder / "device-key.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    first = DeviceKey(folder, DurableFiles()).public
    assert DeviceKey(folder, DurableFiles()).public == first
    path.write_bytes(b"damaged")
    assert DeviceKey(folder, DurableFiles()).public != first
    assert path.with_suffix(".damaged").exists()


def _evidence_of(state: Path) -> str:
    return max((state / "releases" / "evidence").glob("*.json")).stem


def _trial(scores: tuple[float, ...]) -> Trial:
    known = (KnownAnswer("01", "class_logits", 1.0, True, ""),)
    return Trial(known_answers=known, latency_ms=(1.0,), memory_mib=1.0, scores={"golden set": scores})


def _facts() -> Any:
    return ReleaseFacts(
        name="linear",
        version="1.0.0",
        role=ROLE.value,
        contract_hash="0" * 64,
        hardware=("any",),
        minimum_daemon="0.1.0",
        counter=1,
        latency_ms_p95=200,
        memory_mib=100,
    )
