from __future__ import annotations

from appliance.rpc.open_inference.model import Outcome
from appliance.rpc.open_inference.statistics import StatisticsTable


def test_an_engine_call_that_three_requests_share_is_one_execution() -> None:
    table = StatisticsTable()
    for shared_by in (3, 3, 3, 1):
        table.answered("crops", Outcome("1.0.0", {}, {}, inferences=2, shared_by=shared_by), 1, 1, 10)
    counted = table.write("crops", "1.0.0")
    assert (counted.inference_count, counted.execution_count) == (8, 2)
    assert counted.inference_stats.compute_infer.count == 4


def test_a_repeated_answer_is_a_hit_and_no_execution() -> None:
    table = StatisticsTable()
    table.answered("crops", Outcome("1.0.0", {}, {}, repeated=False), 1, 1, 10)
    table.answered("crops", Outcome("1.0.0", {}, {}, repeated=True), 1, 1, 4)
    counted = table.write("crops", "1.0.0")
    stats = counted.inference_stats
    assert (counted.execution_count, counted.inference_count, stats.success.count) == (1, 1, 2)
    assert (stats.cache_hit.count, stats.cache_hit.ns) == (1, 4)
    assert (stats.cache_miss.count, stats.cache_miss.ns) == (1, 10)


def test_where_nobody_looks_there_are_neither_hits_nor_misses() -> None:
    table = StatisticsTable()
    table.answered("crops", Outcome("1.0.0", {}, {}), 1, 1, 10)
    stats = table.write("crops", "1.0.0").inference_stats
    assert (stats.cache_hit.count, stats.cache_miss.count) == (0, 0)
