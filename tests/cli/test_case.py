"""`appliance case`: from opening to closing, with reviews between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli import main
from tests.simulators.appliance import Bench, film_png, spread_png


class Shell:
    """Runs commands against one server."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __call__(self, *words: str) -> tuple[int, str]:
        runner = CliRunner(env={"COLUMNS": "200"})
        result = runner.invoke(main, ["case", *words, "--server", self.address])
        return result.exit_code, " ".join(result.output.split())


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> object:
    with Bench(tmp_path_factory.mktemp("state")) as bench:
        yield Shell(bench.serve())


@pytest.fixture(scope="module")
def spread_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "cell 1.png"
    path.write_bytes(spread_png())
    return path


@pytest.fixture
def case_id(shell: Shell, spread_file: Path) -> str:
    """A case with one spread; the desk of the tests has room for eight open ones, so it is closed again."""
    code, made = shell("open", "box 7")
    assert code == 0
    code, words = shell("add", made, str(spread_file))
    assert code == 0, words
    yield made  # type: ignore[misc]
    shell("close", made)


def test_a_case_is_shown_with_what_is_missing(shell: Shell, case_id: str) -> None:
    code, words = shell("show", case_id)
    assert code == 0
    assert "reference box 7" in words
    assert "46,XY" in words
    assert "needed: 19 more cells counted (1 of 20)" in words
    assert "no karyotype stated: 1 cell has a karyotype" in words
    assert "research use only" in words
    code, text = shell("show", case_id, "--json")
    assert json.loads(text)["spreads"][0]["requestId"] == "cell 1"


def test_files_that_fail_do_not_stop_the_others(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nonsense")
    (tmp_path / "b.png").write_bytes(spread_png())
    (tmp_path / "c.png").write_bytes(spread_png())
    _, made = shell("open")
    code, words = shell("add", made, str(tmp_path), "--output", str(tmp_path / "out"))
    assert code == 1
    assert "1 b: 46 chromosomes, 46,XY" in words
    assert "its spread 1 again" in words
    assert "Not added" in words
    assert (tmp_path / "out" / "b.karyogram.png").read_bytes().startswith(b"\x89PNG")
    shell("close", made)


def test_kept_results_are_linked(shell: Shell, case_id: str) -> None:
    _, text = shell("show", case_id, "--json")
    result_id = json.loads(text)["spreads"][0]["resultId"]
    _, other = shell("open")
    code, words = shell("add", other, "--result", result_id)
    assert code == 0, words
    code, words = shell("add", other, "--result", "nothing")
    assert code == 1
    assert "expected the id of a kept result" in words
    shell("close", other)


def test_a_review(shell: Shell, case_id: str, spread_file: Path, tmp_path: Path) -> None:
    code, words = shell("review", case_id, "1", "--reviewer", "t-1", "--flip", "3", "--rotate", "4=-30")
    assert code == 0, words
    assert "revision 1: rotate, flip, by technologist t-1" in words
    edits = tmp_path / "edits.json"
    edits.write_text(json.dumps([{"delete": {"objectId": 7}}]))
    as_expert = ("--reviewer", "r-1", "--role", "expert")
    drawn = ("--image", str(spread_file), "--output", str(tmp_path))
    code, words = shell("review", case_id, "1", *as_expert, "--edits", str(edits), "--approve", *drawn)
    assert code == 0, words
    assert "approved: 45 chromosomes" in words
    assert (tmp_path / "spread-1.karyogram.png").stat().st_size > 1000
    code, words = shell("accuracy")
    assert "1 approved spreads, 3.0 corrections each; 43 of 46 objects (93.5 %) needed none" in words
    code, words = shell("review", case_id, "1", *as_expert, "--undo", "--revision", "2")
    assert "revision 2: delete, approve, by expert r-1 (not in force)" in words
    code, words = shell("spread", case_id, "1", "--json")
    assert json.loads(words)["revision"] == 3


def test_reviews_that_are_refused(shell: Shell, case_id: str) -> None:
    by = ("--reviewer", "t-1")
    for given, reason in (
        (("--flip", "99", *by), "got 99"),
        (("--flip", "3", "--delete", "3", *by), "flip and delete of object 3"),
        (("--approve", *by), "an expert to approve"),
        (("--undo", *by), "there is none in force"),
        (("--flip", "3", "--revision", "4", *by), "expected revision 0"),
        (("--flip", "3", "--reviewer", "Jane Roe"), "reviewer id"),
    ):
        code, words = shell("review", case_id, "1", *given)
        assert (code, reason in words) == (1, True), words


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ((), "at least one edit"),
        (("--reclassify", "3"), "OBJECT=CLASS"),
        (("--reclassify", "x=3"), "number of an object"),
        (("--rotate", "3=much"), "degrees"),
        (("--join", "3;4=5"), "number of an object"),
        (("--flip", "3", "--structural", "del(5)"), "--approve"),
        (("--flip", "3", "--output", "somewhere"), "belong together"),
    ],
)
def test_command_lines_that_are_wrong(given: tuple[str, ...], reason: str) -> None:
    words = ["case", "review", "id", "1", "--reviewer", "t-1", *given]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert reason in result.output


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "Expected JSON"), ("{}", "a list of edits"), ('[{"flop": {}}]', "Edit 1"), ("[3]", "Edit 1")],
)
def test_files_that_hold_no_edits(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "edits.json"
    path.write_text(text)
    result = CliRunner().invoke(main, ["case", "review", "id", "1", "--reviewer", "t", "--edits", str(path)])
    assert result.exit_code == 1
    assert reason in result.output


def test_cases_are_listed(shell: Shell, case_id: str) -> None:
    code, words = shell("list", "--open", "--limit", "1")
    assert code == 0
    assert case_id in words
    shell("close", case_id)
    _, words = shell("list", "--open")
    assert case_id not in words


def test_nothing_to_add(shell: Shell) -> None:
    code, words = shell("add", "id")
    assert code == 2
    assert "at least one image" in words


def test_a_film_is_not_added(shell: Shell, case_id: str, tmp_path: Path) -> None:
    (tmp_path / "film.png").write_bytes(film_png())
    code, words = shell("add", case_id, str(tmp_path / "film.png"))
    assert code == 1
    assert "Not added" in words
