from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from appliance.clock import Deadline
from appliance.errors import DeadlineExceeded, InferenceFailed
from appliance.inference import (
    Inference,
    ModelIdentity,
    RepeatCache,
    RepeatingEngines,
    RepeatLimits,
    RequestContext,
)
from appliance.inference.repeats import key_of
from appliance.models.manifest import Role

ROLE = Role.KARYOTYPE_CLASSIFIER
FIRST = ModelIdentity("doubling", "1.0.0", ROLE, "0" * 64, "numpy", "CPU", "FP64", "a" * 64)
X = np.arange(3.0)


class Doubling:
    """Counts how often it is asked; fails on negative numbers."""

    def __init__(self) -> None:
        self.model = FIRST
        self.calls = 0

    def infer(self, role: Role, tensors: Mapping[str, NDArray[Any]], context: RequestContext) -> Inference:
        assert role is ROLE
        context.check()
        self.calls += 1
        if tensors["x"].min() < 0:
            raise InferenceFailed("negative")
        return Inference({"y": 2 * tensors["x"]}, self.model, engine_ms=5.0, queue_ms=1.0)


def repeating(engines: Doubling, max_bytes: int = 1000, max_entries: int = 10) -> RepeatingEngines:
    return RepeatingEngines(
        engines, RepeatCache(RepeatLimits(max_bytes, max_entries)), lambda _role: engines.model
    )


def ask(engines: RepeatingEngines, x: NDArray[Any], role: Role = ROLE) -> Inference:
    return engines.infer(role, {"x": x}, RequestContext())


def test_the_same_tensors_again_are_answered_without_the_engine() -> None:
    engines = Doubling()
    service = repeating(engines)
    first, again = ask(service, X), ask(service, X.copy())
    assert engines.calls == 1
    assert (first.repeated, again.repeated) == (False, True)
    assert again.outputs["y"].tolist() == first.outputs["y"].tolist()
    assert (again.engine_ms, again.queue_ms, again.model) == (0.0, 0.0, FIRST)


@pytest.mark.parametrize(
    "other",
    [X + 1, X.astype(np.float32), X.reshape(1, 3), np.arange(4.0)],
    ids=["bytes", "datatype", "shape", "size"],
)
def test_other_tensors_are_another_question(other: NDArray[Any]) -> None:
    engines = Doubling()
    service = repeating(engines)
    ask(service, X)
    assert ask(service, other).repeated is False
    assert engines.calls == 2


@pytest.mark.parametrize(
    "model",
    [
        replace(FIRST, version="1.0.1"),
        replace(FIRST, contract_hash="1" * 64),
        replace(FIRST, fingerprint="b" * 64),
    ],
    ids=["version", "contract", "the same version with other weights"],
)
def test_another_model_is_another_question(model: ModelIdentity) -> None:
    engines = Doubling()
    service = repeating(engines)
    ask(service, X)
    engines.model = model
    assert ask(service, X).model == model
    assert engines.calls == 2


def test_an_answer_of_a_model_that_came_meanwhile_is_not_kept() -> None:
    engines = Doubling()
    cache: RepeatCache[Inference] = RepeatCache(RepeatLimits(1000, 10))
    service = RepeatingEngines(engines, cache, lambda _role: replace(FIRST, version="0.9.0"))
    ask(service, X)
    assert len(cache) == 0


def test_errors_are_not_kept() -> None:
    engines = Doubling()
    service = repeating(engines)
    for _ in range(2):
        with pytest.raises(InferenceFailed):
            ask(service, -1 - X)
    assert engines.calls == 2


def test_off_means_that_nobody_looks() -> None:
    engines = Doubling()
    service = repeating(engines, max_bytes=0)
    assert ask(service, X).repeated is None
    assert ask(service, X).repeated is None
    assert engines.calls == 2


def test_what_is_kept_cannot_be_changed() -> None:
    service = repeating(Doubling())
    first = ask(service, X)
    with pytest.raises(ValueError, match="read-only"):
        first.outputs["y"][0] = 99.0


def test_a_kept_answer_is_not_for_who_waits_no_more() -> None:
    service = repeating(Doubling())
    ask(service, X)
    with pytest.raises(DeadlineExceeded):
        service.infer(ROLE, {"x": X}, RequestContext(deadline=Deadline.after(0.0)))


def test_keys_keep_their_parts_apart() -> None:
    assert key_of(b"ab", b"c") != key_of(b"a", b"bc")
    assert key_of(b"a") != key_of(b"a", b"")
    assert key_of("1") != key_of(1)
    assert key_of(memoryview(b"x"), 1.5, None) == key_of(b"x", 1.5, None)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60), st.booleans()), max_size=60))
def test_never_beyond_the_bounds_and_the_longest_unused_go_first(steps: list[tuple[int, int, bool]]) -> None:
    limits = RepeatLimits(max_bytes=100, max_entries=4)
    cache: RepeatCache[int] = RepeatCache(limits)
    kept: dict[bytes, int] = {}  # by last use, the longest unused first
    for number, size_bytes, reads in steps:
        key = bytes([number])
        if reads:
            assert (cache.get(key) is not None) == (key in kept)
            if key in kept:
                kept[key] = kept.pop(key)
            continue
        cache.put(key, number, size_bytes)
        kept.pop(key, None)
        kept[key] = size_bytes
        while sum(kept.values()) > limits.max_bytes or len(kept) > limits.max_entries:
            kept.pop(next(iter(kept)))
        assert (len(cache), cache.size_bytes) == (len(kept), sum(kept.values()))


def test_one_larger_than_the_cache_is_not_kept_and_evicts_nobody() -> None:
    cache: RepeatCache[str] = RepeatCache(RepeatLimits(10, 10))
    cache.put(b"small", "small", 5)
    cache.put(b"large", "large", 11)
    assert cache.get(b"large") is None
    assert cache.get(b"small") == "small"
