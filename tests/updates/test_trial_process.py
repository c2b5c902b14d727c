"""The child process that compiles and measures: with real engines, and with packs that break it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from appliance.config import Config
from appliance.errors import Cancelled, ReleaseRefused
from appliance.updates.trials import ChildTrials
from tests.simulators.contract_packs import write_packs


@pytest.fixture
def trials(tmp_path: Path) -> ChildTrials:
    return ChildTrials(Config(state_dir=tmp_path / "state"))


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return write_packs(tmp_path / "packs") / "karyotype-classifier"


def test_a_pack_is_compiled_and_measured_in_a_process_of_its_own(trials: ChildTrials, pack: Path) -> None:
    engine = trials.compile(pack, threading.Event())
    assert engine.startswith(("openvino", "onnxruntime", "tensorrt"))
    trial = trials.run(pack, {}, threading.Event())
    assert trial.fault == ""
    assert trial.engine == engine
    assert [one.passed for one in trial.known_answers] == [True, True]
    assert len(trial.latency_ms) >= 5
    assert trial.memory_mib > 0


def test_a_graph_that_no_runtime_takes_is_a_fault_of_the_pack(trials: ChildTrials, pack: Path) -> None:
    (pack / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ReleaseRefused, match="could not be built on this box"):
        trials.compile(pack, threading.Event())
    assert "bytes in model.onnx" in trials.run(pack, {}, threading.Event()).fault


def test_a_trial_that_takes_too_long_is_ended(tmp_path: Path, pack: Path) -> None:
    config = Config.model_validate({"state_dir": tmp_path / "state", "releases": {"trial_s": 0.01}})
    trial = ChildTrials(config).run(pack, {}, threading.Event())
    assert "took longer than 0.01 s" in trial.fault


def test_a_trial_can_be_cancelled(trials: ChildTrials, pack: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        trials.run(pack, {}, cancelled)
