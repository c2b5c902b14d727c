from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.clock import ManualClock, TimeOrderedIds
from appliance.dicom_node.spool import Kind, Spool, SpoolLimits
from appliance.errors import LimitExceeded, StorageUnavailable

LIMITS = SpoolLimits(max_files=3, max_bytes=100)


def opened(folder: Path, limits: SpoolLimits = LIMITS) -> Spool:
    spool = Spool(folder, limits, TimeOrderedIds(ManualClock()))
    spool.open()
    return spool


def test_files_wait_in_the_order_of_their_arrival_also_after_a_restart(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    names = [spool.add_film(bytes([number])) for number in range(3)]
    again = opened(tmp_path)
    assert again.waiting(Kind.FILM) == names
    assert [again.read(Kind.FILM, name) for name in names] == [b"\0", b"\1", b"\2"]
    assert again.size_bytes == 3


def test_a_report_takes_the_place_of_its_film_even_in_a_full_queue(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    names = [spool.add_film(b"film") for _ in range(3)]
    assert spool.add_report(b"report", film=names[1]) == names[1]
    assert spool.waiting(Kind.FILM) == [names[0], names[2]]
    assert spool.waiting(Kind.REPORT) == [names[1]]


@pytest.mark.parametrize(("count", "size"), [(3, 1), (1, 100)])
def test_the_queue_is_bounded_by_files_and_bytes(tmp_path: Path, count: int, size: int) -> None:
    spool = opened(tmp_path)
    for _ in range(count):
        spool.add_film(bytes(size))
    for refused in (spool.add_film, spool.add_report):
        with pytest.raises(LimitExceeded, match="full"):
            refused(b"x")
    spool.remove(Kind.FILM, spool.waiting(Kind.FILM)[0])
    spool.add_report(b"x")


def test_a_crash_between_report_and_film_leaves_the_report(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    name = spool.add_film(b"film")
    (tmp_path / "reports" / f"{name}.dcm").write_bytes(b"report")
    again = opened(tmp_path)
    assert again.waiting(Kind.FILM) == []
    assert again.waiting(Kind.REPORT) == [name]
    assert not (tmp_path / "films" / f"{name}.dcm").exists()


def test_a_half_written_file_never_counts(tmp_path: Path) -> None:
    opened(tmp_path)
    part = tmp_path / "films" / "0190.part"
    part.write_bytes(b"half")
    assert opened(tmp_path).waiting(Kind.FILM) == []
    assert not part.exists()


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    spool = opened(tmp_path / "queue")
    name = spool.add_film(b"film")
    assert (tmp_path / "queue" / "films").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "queue" / "films" / f"{name}.dcm").stat().st_mode & 0o777 == 0o600


def test_storage_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = opened(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageUnavailable, match="No space left"):
        spool.add_film(b"film")
    monkeypatch.undo()
    assert list((tmp_path / "films").iterdir()) == []
    assert spool.size_bytes == 0


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable):
        opened(tmp_path / "file")
    with pytest.raises(StorageUnavailable):
        opened(tmp_path / "queue").read(Kind.FILM, "none")
