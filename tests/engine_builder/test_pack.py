from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from appliance.errors import PackRejected
from appliance.models.contract import Contract
from appliance.models.golden import check_golden
from appliance.models.manifest import (
    Acceptance,
    Labels,
    Precision,
    Preprocessing,
    PreprocessingMethod,
    Role,
    TensorEntry,
    Tolerance,
)
from appliance.models.pack import ModelPack
from engine_builder.pack import GoldenAnswer, PackDraft, write_pack
from engines.onnxruntime_engine import OnnxRuntimeEngine
from tests.simulators import graphs

CONTRACT = Contract(
    inputs=(TensorEntry(name="image", datatype="FP32", shape=(1, 1, 8, 8)),),
    outputs=(TensorEntry(name="logits", datatype="FP32", shape=(1, 4)),),
    preprocessing=Preprocessing(method=PreprocessingMethod.UPRIGHT_CROP),
    labels=Labels(names=("a", "b", "c", "d"), output="logits"),
)


@pytest.fixture
def draft(tmp_path: Path) -> PackDraft:
    model = graphs.save(graphs.tiny_float_model(), tmp_path / "model.onnx")
    with OnnxRuntimeEngine(model) as engine:
        golden = [GoldenAnswer(sample, engine.infer(sample)) for sample in graphs.samples(2)]
    return PackDraft(
        name="tiny",
        version="1.0.0",
        role=Role.KARYOTYPE_CLASSIFIER,
        precision=Precision.FP32,
        contract=CONTRACT,
        model=model,
        golden=golden,
        tolerance={"logits": Tolerance(min_cosine=0.999, max_abs=0.01)},
        matching=None,
        acceptance=[Acceptance(metric="share", bound="at_least", limit=0.1, measured=0.5, n=9)],
        card_text="# Tiny\n",
        summary="Sorts noise.",
        training_data=["none"],
        limitations="All of them.",
        demonstration=True,
    )


def test_a_written_pack_opens_and_its_golden_cases_hold(draft: PackDraft, tmp_path: Path) -> None:
    pack = write_pack(draft, tmp_path / "out" / "tiny")
    assert pack.contract_hash == CONTRACT.hash
    assert pack.manifest.card.demonstration
    assert {file.path for file in pack.manifest.files} == {
        "MODEL_CARD.md",
        "golden/01.npz",
        "golden/02.npz",
        "model.onnx",
    }
    with OnnxRuntimeEngine(pack.model_path) as engine:
        results = check_golden(pack, engine)
    assert [result.passed for result in results] == [True, True]


def test_a_second_pack_replaces_the_first_as_a_whole(draft: PackDraft, tmp_path: Path) -> None:
    directory = tmp_path / "out" / "tiny"
    write_pack(draft, directory)
    write_pack(replace(draft, version="1.1.0", golden=draft.golden[:1]), directory)
    assert ModelPack.open(directory).manifest.version == "1.1.0"
    assert [path.name for path in (directory / "golden").iterdir()] == ["01.npz"]
    assert [path.name for path in directory.parent.iterdir()] == ["tiny"]


def test_a_pack_that_a_box_would_refuse_does_not_replace_a_good_one(draft: PackDraft, tmp_path: Path) -> None:
    directory = tmp_path / "out" / "tiny"
    write_pack(draft, directory)
    missed = Acceptance(metric="share", bound="at_least", limit=0.9, measured=0.5, n=9)
    with pytest.raises(PackRejected, match=r"expected share at least 0.9 and got 0.5"):
        write_pack(replace(draft, version="2.0.0", acceptance=[missed]), directory)
    assert ModelPack.open(directory).manifest.version == "1.0.0"


def test_golden_outputs_are_kept_small_and_inputs_exact(draft: PackDraft, tmp_path: Path) -> None:
    pack = write_pack(draft, tmp_path / "tiny")
    with np.load(pack.directory / "golden" / "01.npz") as arrays:
        assert arrays["output.logits"].dtype == np.float16
        assert np.array_equal(arrays["input.image"], draft.golden[0].inputs["image"])
