from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from appliance.analysis import CHROMOSOME_LABELS
from appliance.models.contract import Contract, channel_mismatch
from appliance.models.manifest import Labels, Preprocessing, PreprocessingMethod, Role, TensorEntry
from appliance.models.reference import CLASSIFIER, REFERENCE_CONTRACTS

CONTRACT = Contract(
    inputs=(TensorEntry(name="x", datatype="FP32", shape=(1, 1, 4, 4)),),
    outputs=(TensorEntry(name="y", datatype="FP32", shape=(1, 2)),),
    preprocessing=Preprocessing(
        method=PreprocessingMethod.LETTERBOX, parameters={"fill": 114, "divisor": 255.0, "rgb": True}
    ),
    labels=Labels(names=("a", "b"), output="y"),
)


def test_canonical_json_has_one_spelling_and_its_sha256_is_the_hash() -> None:
    text = CONTRACT.canonical_json()
    assert text == (
        '{"inputs":[{"datatype":"FP32","name":"x","shape":[1,1,4,4]}],'
        '"labels":{"axis":1,"names":["a","b"],"offset":0,"output":"y"},'
        '"outputs":[{"datatype":"FP32","name":"y","shape":[1,2]}],'
        '"preprocessing":{"method":"letterbox","parameters":{"divisor":255,"fill":114,"rgb":true}}}'
    )
    assert CONTRACT.hash == hashlib.sha256(text.encode()).hexdigest()


def test_the_spelling_of_a_number_and_the_order_of_parameters_do_not_change_the_hash() -> None:
    other = Preprocessing(
        method=PreprocessingMethod.LETTERBOX, parameters={"rgb": True, "divisor": 255, "fill": 114.0}
    )
    assert replace(CONTRACT, preprocessing=other).hash == CONTRACT.hash


@pytest.mark.parametrize(
    "changed",
    [
        replace(CONTRACT, labels=Labels(names=("b", "a"), output="y")),
        replace(CONTRACT, labels=Labels(names=("a", "b"), output="y", axis=0)),
        replace(CONTRACT, inputs=(TensorEntry(name="x", datatype="FP16", shape=(1, 1, 4, 4)),)),
        replace(CONTRACT, outputs=(TensorEntry(name="y", datatype="FP32", shape=(-1, 2)),)),
        replace(CONTRACT, preprocessing=Preprocessing(method=PreprocessingMethod.LETTERBOX)),
        replace(
            CONTRACT,
            preprocessing=Preprocessing(
                method=PreprocessingMethod.LETTERBOX, parameters={"fill": 114, "divisor": 255.0, "rgb": 1}
            ),
        ),
    ],
    ids=["label order", "label axis", "datatype", "shape", "no parameters", "true is not one"],
)
def test_every_part_of_the_contract_changes_the_hash(changed: Contract) -> None:
    assert changed.hash != CONTRACT.hash


def test_labels_have_to_fill_the_channels_of_their_output() -> None:
    assert channel_mismatch(CONTRACT) is None
    three = replace(CONTRACT, labels=Labels(names=("a", "b", "c"), output="y"))
    assert channel_mismatch(three) == (
        "expected 3 channels in output y for 3 labels after 0 other channels and got 2"
    )
    shifted = replace(CONTRACT, labels=Labels(names=("a", "b"), output="y", offset=4))
    assert "expected 6 channels" in str(channel_mismatch(shifted))
    elsewhere = replace(CONTRACT, labels=Labels(names=("a", "b"), output="z"))
    assert channel_mismatch(elsewhere) == "expected the labels' output among y and got z"
    flat = replace(CONTRACT, labels=Labels(names=("a", "b"), output="y", axis=2))
    assert channel_mismatch(flat) == "expected a label axis below 2 for output y and got 2"


def test_reference_contracts_cover_every_role_and_hold_in_themselves() -> None:
    assert set(REFERENCE_CONTRACTS) == set(Role)
    assert len({contract.hash for contract in REFERENCE_CONTRACTS.values()}) == 4
    for contract in REFERENCE_CONTRACTS.values():
        assert channel_mismatch(contract) is None
    assert CLASSIFIER.labels.names == CHROMOSOME_LABELS
    film = REFERENCE_CONTRACTS[Role.CHEST_XRAY_DETECTOR]
    assert film.outputs[0].shape == (1, 18, 8400)
