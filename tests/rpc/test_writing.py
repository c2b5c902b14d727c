"""What the fast way of writing outlines must not change."""

from __future__ import annotations

import pytest

from appliance.pb import analysis_pb2
from appliance.rpc.writing import write_polygons

SQUARE = ((0.0, 0.0), (10.25, 0.0), (10.25, 7.5), (0.0, 7.5))
DOT = ((1359.75, 1023.75),)


@pytest.mark.parametrize("outlines", [(), (SQUARE,), (SQUARE, DOT), ((),)])
def test_polygons_are_those_that_protobuf_itself_would_make(
    outlines: tuple[tuple[tuple[float, float], ...], ...],
) -> None:
    plain = [
        analysis_pb2.Polygon(points=[analysis_pb2.Point(x=x, y=y) for x, y in outline])
        for outline in outlines
    ]
    written = write_polygons(outlines)
    assert written == plain
    assert [one.SerializeToString() for one in written] == [one.SerializeToString() for one in plain]
