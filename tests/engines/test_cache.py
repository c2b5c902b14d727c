from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from engines.cache import CompileCache

KEY = "ab" * 32


def test_an_entry_comes_back_whole(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path / "deep" / "cache")
    assert cache.get(KEY) is None
    assert cache.put(KEY, memoryview(b"compiled"), {"notes": ["one"]})
    entry = cache.get(KEY)
    assert entry is not None
    assert entry.payload == b"compiled"
    assert entry.facts == {"notes": ["one"]}


def test_every_torn_length_is_refused_and_deleted(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    cache.put(KEY, b"payload of some length", {})
    path = tmp_path / f"{KEY}.engine"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert cache.get(KEY) is None, f"{length} of {len(whole)} bytes were trusted"
        assert not path.exists()


def test_every_flipped_byte_is_refused_or_harmless(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    cache.put(KEY, b"payload", {"a": 1})
    path = tmp_path / f"{KEY}.engine"
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        entry = cache.get(KEY)
        assert entry is None or entry.payload == b"payload"


def test_an_entry_under_another_name_is_refused(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    cache.put(KEY, b"payload", {})
    (tmp_path / f"{KEY}.engine").rename(tmp_path / "other.engine")
    assert cache.get("other") is None


def test_the_bound_drops_the_entry_unused_longest(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path, max_bytes=3500)
    for place, key in enumerate(("old", "used", "young")):
        cache.put(key, bytes(1000), {})
        os.utime(tmp_path / f"{key}.engine", (place, place))
    assert cache.get("old") is not None  # makes it the youngest
    assert cache.put("new", bytes(1000), {})
    assert cache.size_bytes() <= 3500
    kept = {key for key in ("old", "used", "young", "new") if cache.get(key) is not None}
    assert "used" not in kept
    assert {"old", "new"} <= kept


def test_an_entry_over_the_bound_is_not_stored_and_drops_nothing(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path, max_bytes=500)
    cache.put("small", b"x", {})
    assert not cache.put("large", bytes(1000), {})
    assert cache.get("small") is not None
    assert cache.get("large") is None


def test_a_failed_write_is_forgotten_and_leaves_nothing(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path / "cache")
    (tmp_path / "cache").rmdir()
    assert not cache.put(KEY, b"payload", {})
    assert cache.get(KEY) is None


def test_leftovers_of_a_dead_writer_are_swept(tmp_path: Path) -> None:
    leftover = tmp_path / f"{KEY}.engine.1.2.tmp"
    leftover.write_bytes(b"half")
    CompileCache(tmp_path)
    assert not leftover.exists()


@pytest.mark.parametrize("key", ["", "../up", "a/b", "A", "a" * 129, "a.engine"])
def test_keys_cannot_leave_the_directory(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="expected a key"):
        CompileCache(tmp_path).put(key, b"", {})


def test_writers_in_many_threads_leave_one_whole_entry(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    payloads = [bytes([number]) * 5000 for number in range(8)]
    threads = [threading.Thread(target=cache.put, args=(KEY, payload, {})) for payload in payloads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entry = cache.get(KEY)
    assert entry is not None
    assert entry.payload in payloads
    assert [path.name for path in tmp_path.iterdir()] == [f"{KEY}.engine"]
