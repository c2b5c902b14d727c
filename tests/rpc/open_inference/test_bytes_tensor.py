from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import InvalidInput
from appliance.rpc.open_inference.bytes_tensor import as_objects, read_bytes_tensor, write_bytes_tensor


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_what_is_written_can_be_read(elements: list[bytes]) -> None:
    raw = write_bytes_tensor(as_objects(elements, (len(elements),)))
    assert read_bytes_tensor("t", raw, (len(elements),)).tolist() == elements


@given(st.binary(max_size=64), st.integers(0, 6))
def test_any_bytes_are_read_or_refused(raw: bytes, count: int) -> None:
    try:
        read = read_bytes_tensor("t", raw, (count,))
    except InvalidInput:
        return
    assert write_bytes_tensor(read) == raw


def test_rows_before_columns() -> None:
    array = as_objects([b"a", b"bc", b"", b"d"], (2, 2))
    assert write_bytes_tensor(array) == b"\1\0\0\0a\2\0\0\0bc\0\0\0\0\1\0\0\0d"


def test_a_length_that_promises_gigabytes() -> None:
    with pytest.raises(InvalidInput, match="expected 4294967295 bytes in element 0 and got 1"):
        read_bytes_tensor("t", b"\xff\xff\xff\xffa", (1,))
