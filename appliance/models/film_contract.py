"""What the chest X-ray pipeline needs of a contract: any YOLO11 detector in one of its two output layouts.

Unlike the karyotype models, whose contracts are fixed, a film model may be a user's own: its input size,
labels, thresholds and layout stand in its manifest, and the pipeline follows them. This is the one place that
says which contracts it can follow, for the builder, the registry and the pipeline alike.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from appliance.errors import PackRejected
from appliance.models.contract import Contract, channel_mismatch
from appliance.models.manifest import PreprocessingMethod

STRIDES: Final = (8, 16, 32)
SIZES: Final = range(320, 1281, 32)
"""Sides of the square input in pixels: the head's coarsest grid needs a multiple of 32."""

BOX_CHANNELS: Final = 4
ROW_COLUMNS: Final = 6
MAX_ROWS: Final = 1000
DIVISORS: Final = (1, 255)
_PARAMETERS: Final = frozenset(("size", "fill", "channels", "divisor"))
_FLOATS: Final = ("FP32", "FP16")
_NO_FINDING: Final = "no finding"


class HeadLayout(enum.Enum):
    """How a YOLO detector lists what it found."""

    GRID = "grid"  # (1, 4 + classes, cells): centre, size and a score for each class, still to be suppressed
    END_TO_END = "end-to-end"  # (1, rows, 6): corners, score and class, suppressed inside the graph


@dataclass(frozen=True)
class FilmContract:
    """A contract that the pipeline can follow, read once."""

    input_name: str
    datatype: str  # of the input: FP32 or FP16
    size: int  # side of the square input, pixels
    fill: int  # grey level of the padding, 0..255
    divisor: int  # grey levels are divided by this: 255, or 1 where the graph scales by itself
    output_name: str
    layout: HeadLayout


def cells(size: int) -> int:
    """Number of cells of a YOLO11 head over an input of `size` × `size` pixels."""
    return sum((size // stride) ** 2 for stride in STRIDES)


def is_no_finding(label: str) -> bool:
    """Whether a label of a model means that nothing was found: it is never reported as a finding."""
    return " ".join(label.lower().replace("_", " ").split()) == _NO_FINDING


def read_film_contract(contract: Contract) -> FilmContract:
    """Parse a contract into what the pipeline follows.

    Raises:
        PackRejected: the pipeline cannot follow it, with the reason in one sentence.
    """
    mismatch = channel_mismatch(contract)
    if mismatch is not None:
        raise PackRejected(mismatch)
    size, datatype, input_name = _input(contract)
    divisor, fill = _preprocessing(contract, size)
    if len(contract.outputs) != 1:
        raise PackRejected(f"expected one output of a film detector and got {len(contract.outputs)}")
    output = contract.outputs[0]
    if output.datatype not in _FLOATS:
        raise PackRejected(f"expected output {output.name} in FP32 or FP16 and got {output.datatype}")
    layout = _layout(contract, size)
    return FilmContract(input_name, datatype, size, fill, divisor, output.name, layout)


def film_contract_mismatch(contract: Contract) -> str | None:
    """Say in one sentence why the pipeline cannot follow a contract, or give None where it can."""
    try:
        read_film_contract(contract)
    except PackRejected as exc:
        return str(exc)
    return None


def _input(contract: Contract) -> tuple[int, str, str]:
    if len(contract.inputs) != 1:
        raise PackRejected(f"expected one input of a film detector and got {len(contract.inputs)}")
    entry = contract.inputs[0]
    size = entry.shape[-1] if entry.shape else 0
    if entry.shape != (1, 3, size, size) or size not in SIZES:
        raise PackRejected(
            f"expected an input of shape [1, 3, S, S] with S a multiple of 32 from {SIZES[0]} to {SIZES[-1]}"
            f" and got {list(entry.shape)}"
        )
    if entry.datatype not in _FLOATS:
        raise PackRejected(f"expected input {entry.name} in FP32 or FP16 and got {entry.datatype}")
    return size, entry.datatype, entry.name


def _preprocessing(contract: Contract, size: int) -> tuple[int, int]:
    part = contract.preprocessing
    if part.method is not PreprocessingMethod.LETTERBOX or set(part.parameters) != _PARAMETERS:
        raise PackRejected(
            f"expected preprocessing letterbox with {', '.join(sorted(_PARAMETERS))} and got"
            f" {part.method.value} with {', '.join(sorted(part.parameters)) or 'nothing'}"
        )
    wrong = []
    if part.parameters["size"] != size:
        wrong.append(f"size {size}, as the input's shape says, and got {part.parameters['size']}")
    if part.parameters["channels"] != "RGB":
        wrong.append(f"channels RGB and got {part.parameters['channels']}")
    divisor, fill = part.parameters["divisor"], part.parameters["fill"]
    if isinstance(divisor, bool) or divisor not in DIVISORS:
        wrong.append(f"divisor 255, or 1 for a graph that scales by itself, and got {divisor}")
    if isinstance(fill, (bool, str)) or fill != int(fill) or not 0 <= fill <= 255:
        wrong.append(f"a fill from 0 to 255 and got {fill}")
    if wrong:
        raise PackRejected(f"expected {'; '.join(wrong)}")
    return int(divisor), int(fill)


def _layout(contract: Contract, size: int) -> HeadLayout:
    labels, shape = contract.labels, contract.outputs[0].shape
    number = len(labels.names)
    if labels.output is not None and shape == (1, BOX_CHANNELS + number, cells(size)):
        if (labels.axis, labels.offset) != (1, BOX_CHANNELS):
            raise PackRejected(
                f"expected labels on axis 1 after {BOX_CHANNELS} box channels and got axis {labels.axis}"
                f" after {labels.offset}"
            )
        return HeadLayout.GRID
    if len(shape) == 3 and (shape[0], shape[2]) == (1, ROW_COLUMNS) and 1 <= shape[1] <= MAX_ROWS:
        if labels.channels is None:
            raise PackRejected(
                "expected the head's number of classes (labels.channels) beside rows of 6 and got none"
            )
        return HeadLayout.END_TO_END
    raise PackRejected(
        f"expected an output of shape [1, {BOX_CHANNELS + number}, {cells(size)}] for {number} labels at"
        f" {size}², or [1, rows, {ROW_COLUMNS}], and got {list(shape)}"
    )
