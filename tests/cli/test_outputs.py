from __future__ import annotations

import stat
from pathlib import Path

import pytest

from appliance.cli.outputs import output_names, write_atomically


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a.png", "b.png"], ["a", "b"]),
        (["/x/a.png", "/x/a.tif"], ["a.png", "a.tif"]),
        (["/x/a.png", "/x/A.tif"], ["a.png", "A.tif"]),
        (["/x/a.png", "/y/a.png", "/y/b.png"], ["x-a.png", "y-a.png", "b"]),
        (["/1/x/a.png", "/2/x/a.png"], ["x-a.png", "x-a.png-2"]),
        (["/x/a.png", "/y/a.png", "/z/x-a.png.tif"], ["x-a.png", "y-a.png", "x-a.png-2"]),
    ],
)
def test_names_never_collide(paths: list[str], names: list[str]) -> None:
    assert output_names([Path(path) for path in paths]) == names


def test_a_file_is_written_whole_with_the_usual_rights(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_atomically(target, b"old")
    write_atomically(target, b"new")
    assert target.read_bytes() == b"new"
    (tmp_path / "plain").write_bytes(b"")
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert len(list(tmp_path.iterdir())) == 2


def test_nothing_is_left_of_a_write_that_failed(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OSError, match=r"a\.json"):
        write_atomically(tmp_path / "a.json", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
