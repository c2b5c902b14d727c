from __future__ import annotations

from pathlib import Path

import pytest

from appliance.config import Config, default_state_dir, load_config, parse_address
from appliance.errors import ConfigurationError


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "appliance.toml"
    path.write_text(text)
    return path


def test_no_file_is_needed() -> None:
    config = load_config()
    assert config == Config()
    assert config.server.listen == ("127.0.0.1:8001",)


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path, '[server]\nlisten = ["0.0.0.0:9000"]\n[images]\nmax_side_px = 4000\n')
    )
    assert config.server.listen == ("0.0.0.0:9000",)
    assert config.images.max_side_px == 4000
    assert config.images.min_side_px == Config().images.min_side_px


def test_the_command_line_wins(tmp_path: Path) -> None:
    path = write(tmp_path, 'state_dir = "/a"\n[server]\nlisten = ["0.0.0.0:9000"]\nworkers = 3\n')
    config = load_config(path, state_dir=tmp_path, cache_dir=tmp_path / "c", listen=("127.0.0.1:1",))
    assert config.state_directory == tmp_path
    assert config.cache_directory == tmp_path / "c"
    assert config.server.listen == ("127.0.0.1:1",)
    assert config.server.workers == 3


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path, 'color = 1\n[server]\nworkers = 0\nlisten = ["nowhere"]\n[images]\nmax_mib = "many"\n'
    )
    with pytest.raises(ConfigurationError) as caught:
        load_config(path)
    text = str(caught.value)
    assert text.startswith("4 mistakes in ")
    assert "color: there is no such key" in text
    assert "server.workers: " in text
    assert "got 0" in text
    assert "server.listen.0: expected HOST:PORT" in text
    assert "images.max_mib: " in text


@pytest.mark.parametrize("text", ["[server", "a = 1\na = 2", "\xff"])
def test_a_file_that_is_no_toml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "appliance.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match="expected TOML"):
        load_config(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load_config(tmp_path / "none.toml")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected a configuration of at most"):
        load_config(write(tmp_path, "#" * (1 << 21)))


@pytest.mark.parametrize(
    ("environment", "user_id", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/x"}, 1000, "/var/lib/x"),
        ({"STATE_DIRECTORY": "/var/lib/x:/var/lib/y"}, 0, "/var/lib/x"),
        ({}, 0, "/var/lib/appliance"),
        ({}, 1000, "/home/t/.local/state/appliance"),
        ({"XDG_STATE_HOME": "/s"}, 1000, "/s/appliance"),
    ],
)
def test_where_state_is_kept(environment: dict[str, str], user_id: int, expected: str) -> None:
    assert default_state_dir(environment, user_id, Path("/home/t")) == Path(expected)


@pytest.mark.parametrize("text", ["127.0.0.1:8001", "localhost:0", "[::1]:8001", "unix:/run/a.sock"])
def test_addresses(text: str) -> None:
    assert parse_address(text) == text


@pytest.mark.parametrize(
    "text", ["", "8001", "host", "host:99999", "a b:1", "unix:relative", "unix:/" + "x" * 107]
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_address(text)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_config().server.workers = 3  # type: ignore[misc]


def test_limits_that_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"expected server\.max_message_mib above .* got 64"):
        load_config(write(tmp_path, "[server]\nmax_message_mib = 64\n"))
    with pytest.raises(ConfigurationError, match=r"expected images\.min_side_px up to"):
        load_config(write(tmp_path, "[images]\nmin_side_px = 100\nmax_side_px = 80\n"))
