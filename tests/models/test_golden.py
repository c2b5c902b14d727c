from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from appliance.errors import InferenceFailed, PackRejected
from appliance.models.golden import agreement, check_golden, read_golden, shape_mismatch
from appliance.models.pack import ModelPack
from engines.tensor_spec import TensorSpec
from tests.simulators.packs import NumpyEngine, rewrite, save_golden


def test_agreement_of_hand_computed_arrays() -> None:
    left, right = np.array([3.0, 4.0]), np.array([4.0, 3.0])
    found = agreement(left, right)
    assert found.cosine == pytest.approx(24 / 25)
    assert found.max_abs == 1.0
    assert agreement(np.zeros(3), np.zeros(3)).cosine == 1.0
    assert agreement(np.zeros(3), np.ones(3)).cosine == 0.0
    assert agreement(np.array([math.nan]), np.array([0.0])).max_abs == math.inf
    with pytest.raises(ValueError, match=r"expected shape \(2,\) and got \(3,\)"):
        agreement(np.zeros(3), np.zeros(2))


def test_a_faithful_engine_passes_and_a_drifting_one_does_not(pack_directory: Path) -> None:
    pack = ModelPack.open(pack_directory)
    with NumpyEngine() as faithful:
        (result,) = check_golden(pack, faithful)
    assert result.passed
    assert result.sentence == ""
    with NumpyEngine(factor=1.5) as drifting:
        (result,) = check_golden(pack, drifting)
    assert not result.passed
    assert "expected in logits a difference of at most 0.01 and got" in result.sentence
    with NumpyEngine(factor=-1.0) as reversed_:
        (result,) = check_golden(pack, reversed_)
    assert "cosine of at least 0.999 and got -1.000000" in result.sentence


def test_an_engine_that_cannot_run_is_no_empty_result(pack_directory: Path) -> None:
    engine = NumpyEngine()
    engine.close()
    with pytest.raises(InferenceFailed, match=r"golden case golden/first.npz of tiny could not run"):
        check_golden(ModelPack.open(pack_directory), engine)


def test_golden_cases_with_wrong_arrays_are_rejected(pack_directory: Path) -> None:
    case = pack_directory / "golden" / "first.npz"
    save_golden(case, {"input.image": np.zeros(1), "output.logits": np.zeros(1)})
    rewrite(pack_directory)
    with NumpyEngine() as engine:
        with pytest.raises(
            PackRejected, match=r"expected inputs crops in golden case golden/first.npz and got image"
        ):
            check_golden(ModelPack.open(pack_directory), engine)
        save_golden(case, {"input.crops": np.zeros((1, 1, 2, 2), np.float32)})
        rewrite(pack_directory)
        with pytest.raises(PackRejected, match="got none for logits"):
            check_golden(ModelPack.open(pack_directory), engine)


def test_pickles_are_not_read(tmp_path: Path) -> None:
    save_golden(tmp_path / "bad.npz", {"input.x": np.array([object()], dtype=object)})
    with pytest.raises(PackRejected, match=r"expected golden case bad.npz to be an .npz of numbers"):
        read_golden(tmp_path / "bad.npz")
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04torn")
    with pytest.raises(PackRejected, match=r"to be an .npz of numbers"):
        read_golden(tmp_path / "torn.npz")


def test_shapes_of_the_graph_have_to_be_those_of_the_manifest(pack_directory: Path) -> None:
    manifest = ModelPack.open(pack_directory).manifest
    crops = TensorSpec("crops", "FP32", (-1, 1, 2, 2))
    assert shape_mismatch(manifest, NumpyEngine()) is None
    assert shape_mismatch(manifest, NumpyEngine(outputs=(TensorSpec("logits", "FP32", (-1, -1)),))) is None
    four = NumpyEngine(outputs=(TensorSpec("logits", "FP32", (-1, 4)),))
    assert shape_mismatch(manifest, four) == (
        "tiny 1.2.3: expected shape [-1, 3] for logits and got [-1, 4] in the graph"
    )
    half = NumpyEngine(inputs=(TensorSpec("crops", "FP16", (-1, 1, 2, 2)),))
    assert "expected datatype FP32 for crops and got FP16" in str(shape_mismatch(manifest, half))
    other = NumpyEngine(inputs=(crops, TensorSpec("mask", "FP32", (1,))))
    assert "expected inputs crops and got crops, mask in the graph" in str(shape_mismatch(manifest, other))
