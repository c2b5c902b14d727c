from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import AlreadyExists, InvalidInput, LimitExceeded, NotFound
from appliance.shared_memory import OwnRegions, Region, RegionLimits, RegionTable


@pytest.fixture
def table(tmp_path: Path) -> Iterator[OwnRegions]:
    """Two regions of 64 bytes in all, over a folder with an object of 32 bytes."""
    (tmp_path / "object").write_bytes(bytes(range(32)))
    everybodys = RegionTable(RegionLimits(2, 64, 2, 64), tmp_path)
    yield everybodys.of("somebody")
    everybodys.close()


def read(region: Region, offset: int, size: int) -> bytes:
    buffer = bytearray(size)
    region.read_into(memoryview(buffer), offset)
    return bytes(buffer)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_reading_and_writing(table: OwnRegions, tmp_path: Path) -> None:
    table.register("r", "/object", 8, 16)
    with table.use("r") as region:
        assert read(region, 0, 4) == bytes([8, 9, 10, 11])
        region.write(memoryview(b"ab"), 14)
        assert read(region, 14, 2) == b"ab"
        for offset, size in ((0, 17), (16, 1), (15, 2)):
            with pytest.raises(InvalidInput, match="expected a place inside the 16 bytes"):
                read(region, offset, size)
            with pytest.raises(InvalidInput, match="expected a place inside the 16 bytes"):
                region.write(memoryview(bytes(size)), offset)
    assert (tmp_path / "object").read_bytes()[22:25] == b"ab" + bytes([24])


def test_a_region_outlives_its_name_while_it_is_used(table: OwnRegions) -> None:
    before = descriptors()
    table.register("r", "object", 0, 32)
    with table.use("r") as first, table.use("r") as second:
        table.unregister("r")
        assert table.infos() == ()
        table.register("r", "object", 0, 8)  # the name is free at once
        assert read(first, 0, 2) == read(second, 0, 2) == bytes([0, 1])
    table.unregister("r")
    assert descriptors() == before


def test_an_object_that_shrinks_is_an_error_and_never_grows_back(table: OwnRegions, tmp_path: Path) -> None:
    table.register("r", "object", 0, 32)
    os.truncate(tmp_path / "object", 10)
    with table.use("r") as region:
        assert read(region, 0, 10) == bytes(range(10))
        with pytest.raises(InvalidInput, match="got 10: the memory object has shrunk"):
            read(region, 0, 11)
        with pytest.raises(InvalidInput, match="it has shrunk"):
            region.write(memoryview(b"abc"), 8)
    assert (tmp_path / "object").stat().st_size == 10


def test_bounds_of_the_table(table: OwnRegions) -> None:
    before = descriptors()
    table.register("a", "object", 0, 32)
    with pytest.raises(AlreadyExists):
        table.register("a", "object", 0, 1)
    table.register("b", "object", 0, 32)
    with pytest.raises(LimitExceeded, match="at most 2 shared memory regions of all callers"):
        table.register("c", "object", 0, 1)
    table.unregister("b")
    assert [info.name for info in table.infos()] == ["a"]
    table.unregister_all()
    assert descriptors() == before


def test_bytes_in_all_regions_together(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(bytes(100))
    table = RegionTable(RegionLimits(9, 64, 9, 64), tmp_path)
    table.of("one").register("a", "object", 0, 60)
    with pytest.raises(
        LimitExceeded, match="at most 64 bytes in the shared memory regions of all callers and"
    ):
        table.of("other").register("b", "object", 0, 5)
    table.close()


def test_one_caller_cannot_take_all_the_room(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(bytes(100))
    table = RegionTable(RegionLimits(4, 100, 2, 40), tmp_path)
    greedy, modest = table.of("greedy"), table.of("modest")
    greedy.register("a", "object", 0, 30)
    with pytest.raises(
        LimitExceeded, match="at most 40 bytes in the shared memory regions of one caller and"
    ):
        greedy.register("b", "object", 0, 11)
    greedy.register("b", "object", 0, 10)
    with pytest.raises(LimitExceeded, match="at most 2 shared memory regions of one caller"):
        greedy.register("c", "object", 0, 1)
    modest.register("a", "object", 0, 40)
    table.close()


def test_callers_neither_see_nor_use_nor_forget_each_others_regions(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(bytes(range(32)))
    table = RegionTable(RegionLimits(9, 999, 9, 999), tmp_path)
    one, other = table.of("one"), table.of("other")
    one.register("r", "object", 0, 8)
    other.register("r", "object", 8, 8)  # the same name is no collision
    with one.use("r") as mine, other.use("r") as theirs:
        assert (read(mine, 0, 1), read(theirs, 0, 1)) == (bytes([0]), bytes([8]))
    other.unregister("r")
    other.unregister_all()
    assert other.infos() == ()
    assert [info.offset for info in one.infos()] == [0]
    with pytest.raises(NotFound, match="that you registered"), other.use("r"):
        pass
    with pytest.raises(NotFound, match="that you registered"):
        other.infos("r")
    table.close()
    assert one.infos() == ()


def test_what_a_dead_caller_left_makes_room(tmp_path: Path) -> None:
    for name in ("left", "used", "alive"):
        (tmp_path / name).write_bytes(bytes(8))
    before = descriptors()
    table = RegionTable(RegionLimits(3, 99, 3, 99), tmp_path)
    mine = table.of("one")
    for name in ("left", "used", "alive"):
        mine.register(name, name, 0, 8)
    for name in ("left", "used"):
        (tmp_path / name).unlink()
    with mine.use("used") as region:
        table.of("other").register("new", "alive", 0, 8)
        assert [info.name for info in mine.infos()] == ["used", "alive"], "only what nobody can reach or uses"
        assert read(region, 0, 8) == bytes(8)
    table.close()
    assert descriptors() == before


@pytest.mark.parametrize(("offset", "size"), [(0, 33), (32, 1), (1 << 63, 1), (0, 0)])
def test_a_region_beyond_its_object(table: OwnRegions, offset: int, size: int) -> None:
    with pytest.raises(InvalidInput):
        table.register("r", "object", offset, size)
    assert table.infos() == ()


@pytest.mark.parametrize("name", ["", "x" * 257, "a\nb"])
def test_a_name_that_cannot_be(table: OwnRegions, name: str) -> None:
    with pytest.raises(InvalidInput, match="expected a printable region name"):
        table.register(name, "object", 0, 1)


@pytest.mark.parametrize(
    "key", ["..", "/..", ".", "", "/", "//object", "a/../object", "../x", "a\0b", "x" * 256]
)
def test_a_key_that_cannot_be(table: OwnRegions, key: str) -> None:
    with pytest.raises(InvalidInput):
        table.register("r", key, 0, 1)


def test_what_is_no_memory_object(table: OwnRegions, tmp_path: Path) -> None:
    outside = tmp_path.parent / "outside"
    outside.write_bytes(bytes(8))
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    before = descriptors()
    for key in ("link", "folder", "fifo"):
        with pytest.raises(InvalidInput, match="expected a memory object"):
            table.register("r", key, 0, 1)
    with pytest.raises(NotFound):
        table.register("r", "nothing", 0, 1)
    assert descriptors() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
@pytest.mark.parametrize(("mode", "granted"), [(0o600, False), (0o644, False), (0o666, True)])
def test_root_asks_for_the_rights_of_others_too(
    table: OwnRegions, tmp_path: Path, mode: int, granted: bool
) -> None:
    path = tmp_path / "object"
    os.chown(path, 12345, 12345)
    path.chmod(mode)
    if granted:
        table.register("r", "object", 0, 1)
    else:
        with pytest.raises(InvalidInput, match="may read and write"):
            table.register("r", "object", 0, 1)


def test_unknown_names(table: OwnRegions) -> None:
    table.unregister("nobody")
    with pytest.raises(NotFound, match="that you registered and got"), table.use("nobody"):
        pass
    with pytest.raises(NotFound):
        table.infos("nobody")
