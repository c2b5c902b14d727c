"""A folder, a web server, and asking again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.bundles.https_source import HttpsSource
from appliance.bundles.retrying import RetryingSource, RetryPolicy
from appliance.bundles.source import DirectorySource, read_at_most
from appliance.errors import InvalidInput, NotFound, SourceUnavailable
from tests.simulators.web_server import WebServer, serving, write_certificate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "releases"
    (path / "metadata").mkdir(parents=True)
    (path / "metadata" / "timestamp.json").write_bytes(b"x" * 300_000)
    return path


@pytest.fixture
def web(folder: Path, tmp_path: Path) -> Iterator[tuple[WebServer, Path]]:
    certificate, key = write_certificate(tmp_path)
    with serving(folder, certificate, key) as server:
        yield server, certificate


def test_a_web_server_gives_what_the_folder_holds(web: tuple[WebServer, Path], folder: Path) -> None:
    server, certificate = web
    source = HttpsSource(server.address, 5.0, certificate)
    for one in (source, DirectorySource(folder)):
        assert read_at_most(one, "metadata/timestamp.json", 300_000) == b"x" * 300_000
        with pytest.raises(NotFound):
            read_at_most(one, "metadata/2.root.json", 1000)
        with pytest.raises(SourceUnavailable, match="at most 1000 bytes"):
            read_at_most(one, "metadata/timestamp.json", 1000)


def test_a_server_that_stumbles_is_asked_again_within_bounds(web: tuple[WebServer, Path]) -> None:
    server, certificate = web
    pauses: list[float] = []
    source = RetryingSource(
        HttpsSource(server.address, 5.0, certificate), RetryPolicy(attempts=3), pauses.append
    )
    server.fail, server.failures = "timestamp", 2
    assert len(read_at_most(source, "metadata/timestamp.json", 300_000)) == 300_000
    assert pauses == [0.5, 1.0]
    server.failures = 3
    with pytest.raises(SourceUnavailable, match="got 503"):
        read_at_most(source, "metadata/timestamp.json", 300_000)
    assert len(server.asked) == 6


def test_an_unknown_certificate_is_not_believed(web: tuple[WebServer, Path]) -> None:
    server, _certificate = web
    with pytest.raises(SourceUnavailable, match="cannot reach"):
        read_at_most(HttpsSource(server.address, 5.0), "metadata/timestamp.json", 300_000)


@pytest.mark.parametrize(
    "address",
    ["http://host/releases", "https://", "https://me:secret@host/", "https://host/?a=1", "ftp://host"],
)
def test_only_plain_https_addresses_are_taken(address: str) -> None:
    with pytest.raises(InvalidInput, match="expected https://HOST/FOLDER"):
        HttpsSource(address, 5.0)


class Breaking:
    """Breaks off after some pieces, as often as it is told."""

    name = "breaking"

    def __init__(self, breaks: int) -> None:
        self.breaks = breaks

    def stream(self, path: str) -> Iterator[bytes]:
        for number in range(4):
            if number == 2 and self.breaks:
                self.breaks -= 1
                raise SourceUnavailable(f"{path} broke off")
            yield bytes([number]) * 3


def test_what_was_read_before_a_break_is_not_given_twice() -> None:
    source = RetryingSource(Breaking(2), RetryPolicy(attempts=3), lambda _pause_s: None)
    assert b"".join(source.stream("file")) == b"".join(bytes([n]) * 3 for n in range(4))


def test_pauses_double_up_to_the_longest() -> None:
    policy = RetryPolicy(attempts=6, first_pause_s=1.0, longest_pause_s=5.0)
    assert list(policy.pauses_s()) == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_pipe_on_a_stick_is_no_file_and_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "metadata" / "1.root.json")
    (folder / "metadata" / "link.json").symlink_to("/etc/hostname")
    source = DirectorySource(folder)
    with pytest.raises(NotFound, match="got another thing"):
        read_at_most(source, "metadata/1.root.json", 10)
    with pytest.raises(SourceUnavailable, match="cannot read"):
        read_at_most(source, "metadata/link.json", 10)
