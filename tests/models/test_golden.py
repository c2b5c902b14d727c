from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.errors import InferenceFailed, PackRejected
from appliance.models.golden import agreement, check_golden, read_golden, shape_mismatch
from appliance.models.pack import ModelPack
from engines.tensor_spec import TensorSpec
from tests.simulators.packs import NumpyEngine, Tree, rewrite, save_golden


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


class SlotEngine(NumpyEngine):
    """Answers with the objects that it was given, whatever it is asked."""

    def __init__(self, boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
        super().__init__(
            outputs=(TensorSpec("boxes", "FP32", (1, 2, 4)), TensorSpec("scores", "FP32", (1, 2)))
        )
        self.answer = {"boxes": boxes, "scores": scores}

    def _infer(self, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        del tensors
        return self.answer


def test_objects_may_change_slots_but_not_places(pack_directory: Path) -> None:
    boxes = np.array([[[0, 0, 10, 10], [20, 0, 30, 10]]], np.float32)
    scores = np.array([[0.9, 0.89]], np.float32)
    arrays = {
        "input.crops": np.zeros((1, 1, 2, 2), np.float32),
        "output.boxes": boxes,
        "output.scores": scores,
    }
    save_golden(pack_directory / "golden" / "first.npz", arrays)

    def slots(tree: Tree) -> None:
        tree["outputs"] = [
            {"name": "boxes", "datatype": "FP32", "shape": [1, 2, 4]},
            {"name": "scores", "datatype": "FP32", "shape": [1, 2]},
        ]
        tree["labels"] = {"names": ["object"]}
        case = tree["golden_cases"][0]
        case["tolerance"] = {"boxes": {"max_abs": 1}, "scores": {"max_abs": 0.05}}
        case["matching"] = {
            "boxes": "boxes",
            "scores": "scores",
            "min_score": 0.5,
            "min_iou": 0.7,
            "min_share": 0.9,
        }

    rewrite(pack_directory, slots)
    rewrite(pack_directory)  # the contract has changed with the outputs
    pack = ModelPack.open(pack_directory)
    swapped = boxes[:, ::-1].copy()
    with SlotEngine(swapped, scores) as engine:
        assert [result.passed for result in check_golden(pack, engine)] == [True, True]
    with SlotEngine(swapped, scores - np.float32(0.3)) as engine:
        assert [result.sentence for result in check_golden(pack, engine) if not result.passed] == [
            "golden/first.npz: expected in scores a difference of at most 0.05 and got 0.31"
        ]
    with SlotEngine(boxes + np.float32(40), scores) as engine:
        (result,) = check_golden(pack, engine)
    assert result.sentence == (
        "golden/first.npz: expected 90% of the objects of score 0.5 and more again and got 0%"
    )


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
