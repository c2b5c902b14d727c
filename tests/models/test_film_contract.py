"""Which user's models the chest X-ray pipeline follows, and what makes it refuse one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from appliance.errors import PackRejected
from appliance.models.contract import Contract, channel_mismatch
from appliance.models.film_contract import (
    HeadLayout,
    cells,
    film_contract_mismatch,
    is_no_finding,
    read_film_contract,
)
from appliance.models.manifest import Acceptance, Labels, Preprocessing, TensorEntry
from appliance.models.reference import CHEST_XRAY, FINDING_LABELS, SEGMENTER

FIFTEEN = (*FINDING_LABELS, "No finding")


def contract(
    size: int = 640,
    labels: tuple[str, ...] = FINDING_LABELS,
    channels: int | None = None,
    rows: int | None = None,
    datatype: Any = "FP32",
    **parameters: Any,
) -> Contract:
    """A user's model; with `rows` in the end-to-end layout over a head of `channels` classes."""
    shape = (1, rows, 6) if rows else (1, 4 + (channels or len(labels)), cells(size))
    values = {"size": size, "fill": 114, "channels": "RGB", "divisor": 255, **parameters}
    return Contract(
        inputs=(TensorEntry(name="images", datatype=datatype, shape=(1, 3, size, size)),),
        outputs=(TensorEntry(name="output0", datatype=datatype, shape=shape),),
        preprocessing=Preprocessing(
            method=CHEST_XRAY.preprocessing.method,
            parameters={name: value for name, value in values.items() if value is not None},
        ),
        labels=Labels(names=labels, channels=channels or len(labels))
        if rows
        else Labels(names=labels, output="output0", axis=1, offset=4),
    )


def test_the_factory_contract_is_one_of_them() -> None:
    read = read_film_contract(CHEST_XRAY)
    assert (read.size, read.fill, read.divisor, read.layout) == (640, 114, 255, HeadLayout.GRID)
    assert (read.input_name, read.output_name, read.datatype) == ("images", "output0", "FP32")


@pytest.mark.parametrize("size", [320, 640, 1024, 1280])
@pytest.mark.parametrize("rows", [None, 300])
@pytest.mark.parametrize("datatype", ["FP32", "FP16"])
def test_sizes_layouts_and_datatypes(size: int, rows: int | None, datatype: str) -> None:
    read = read_film_contract(contract(size, rows=rows, datatype=datatype))
    assert read.layout is (HeadLayout.END_TO_END if rows else HeadLayout.GRID)
    assert (read.size, read.datatype) == (size, datatype)


def test_fifteen_classes_behind_fourteen_names_are_impossible() -> None:
    assert "expected 18 channels in output output0 for 14 labels after 4 other channels and got 19" in str(
        film_contract_mismatch(contract(channels=15))
    )
    assert "expected 15 labels, one for each class of the head, and got 14" in str(
        film_contract_mismatch(contract(channels=15, rows=300))
    )
    assert channel_mismatch(contract(labels=FIFTEEN)) is None
    assert film_contract_mismatch(contract(labels=FIFTEEN, rows=300)) is None
    nameless = contract(rows=300)
    bare = replace(nameless, labels=Labels(names=("Nodule",)))
    assert "labels.channels" in str(film_contract_mismatch(bare))


def test_two_label_lists_never_have_one_hash() -> None:
    swapped = (FINDING_LABELS[1], FINDING_LABELS[0], *FINDING_LABELS[2:])
    hashes = {
        one.hash
        for one in (
            contract(),
            contract(labels=swapped),
            contract(labels=FIFTEEN),
            contract(labels=FINDING_LABELS[:8]),
            contract(rows=300),
            contract(divisor=1),
            contract(size=1024),
            replace(contract(), thresholds={"ILD": 0.5}),
            replace(contract(), thresholds={"ILD": 0.4}),
        )
    }
    assert len(hashes) == 9


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (contract(size=600), "a multiple of 32 from 320 to 1280 and got"),
        (contract(datatype="INT8"), "FP32 or FP16 and got INT8"),
        (contract(divisor=128), "divisor 255, or 1 for a graph that scales by itself, and got 128"),
        (contract(divisor=True), "and got True"),
        (contract(divisor=None), "letterbox with channels, divisor, fill, size and got"),
        (contract(mean=0.5), "and got letterbox with channels, divisor, fill, mean, size"),
        (contract(fill=300), "a fill from 0 to 255 and got 300"),
        (SEGMENTER, "input"),
        (replace(contract(), outputs=contract().outputs * 2), "one output of a film detector and got 2"),
    ],
)
def test_what_the_pipeline_cannot_follow_is_refused_with_the_reason(wrong: Contract, message: str) -> None:
    with pytest.raises(PackRejected, match=message):
        read_film_contract(wrong)


def test_sizes_have_to_agree() -> None:
    sideways = replace(contract(), preprocessing=contract(size=1024).preprocessing)
    assert "size 640, as the input's shape says, and got 1024" in str(film_contract_mismatch(sideways))


def test_a_doubled_label_is_no_list() -> None:
    with pytest.raises(ValidationError, match="each label once and got ILD more than once"):
        Labels(names=("ILD", "ILD"), output="output0")


@pytest.mark.parametrize(
    ("metric", "bound", "limit"),
    [
        ("int8.map40", "at_least", 0.0),
        ("int8.map40", "at_least", -0.1),
        ("drop.map40", "at_most", 1.0),
        ("parity.output0.max_abs", "at_least", 0.0),
    ],
)
def test_a_gate_that_cannot_fail_is_refused(metric: str, bound: Any, limit: float) -> None:
    with pytest.raises(ValidationError, match=f"a threshold that {metric} can miss and got"):
        Acceptance(metric=metric, bound=bound, limit=limit, measured=0.5, n=3)


def test_no_finding_is_recognised_however_it_is_spelt() -> None:
    assert all(is_no_finding(text) for text in ("No finding", "no_finding", " NO  FINDING "))
    assert not is_no_finding("Other lesion")
