"""Several calls in one engine call: which may share one, how their rows are put together and taken apart."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.errors import InferenceFailed
from appliance.inference.request import Tensors
from engines.tensor_spec import DYNAMIC, TensorSpec

Inputs = Mapping[str, NDArray[Any]]


def takes_rows(specs: Sequence[TensorSpec]) -> bool:
    """Whether the first dimension of every input and output is a batch: rows that do not know each other."""
    return bool(specs) and all(spec.shape and spec.shape[0] == DYNAMIC for spec in specs)


def form_of(tensors: Inputs) -> Hashable:
    """What calls must have in common to share an engine call: names, datatypes and shapes but for the rows.

    None where the tensors do not agree on a number of rows: the engine will say what is wrong with them.
    """
    rows = {array.shape[0] if array.ndim else -1 for array in tensors.values()}
    if len(rows) != 1 or min(rows) < 1:
        return None
    return tuple(sorted((name, array.dtype.str, array.shape[1:]) for name, array in tensors.items()))


def rows_of(tensors: Inputs) -> int:
    """Rows of a call whose form is known."""
    return int(next(iter(tensors.values())).shape[0])


def join(calls: Sequence[Inputs]) -> Tensors:
    """The rows of every call, one after the other; all are of one form."""
    return {name: np.concatenate([call[name] for call in calls]) for name in calls[0]}


def split(outputs: Inputs, rows: Sequence[int]) -> list[Tensors]:
    """Each call's own rows of the outputs, as arrays of its own.

    Args:
        outputs: of the joined call.
        rows: of each call, in the order in which they were joined.

    Raises:
        InferenceFailed: the engine gave another number of rows than it got.
    """
    for name, output in outputs.items():
        if output.shape[0] != sum(rows):
            raise InferenceFailed(
                f"expected {sum(rows)} rows in output {name} of a shared engine call"
                f" and got {output.shape[0]}"
            )
    ends = np.cumsum(rows)
    return [
        {name: output[end - count : end].copy() for name, output in outputs.items()}
        for count, end in zip(rows, ends, strict=True)
    ]
