"""How much is logged, read and changed."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from appliance.callers import Caller, CallerRole
from appliance.errors import InvalidInput, NotAllowed, NotOffered
from appliance.pb import open_inference_pb2 as pb
from appliance.rpc.access import KEEPERS, demand
from appliance.rpc.open_inference.settings import OURS, change_log_settings, log_settings

Value = pb.LogSettingsRequest.SettingValue


@pytest.fixture(autouse=True)
def levels_as_they_were() -> Iterator[None]:
    before = {name: logging.getLogger(name).level for name in OURS}
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def change(**settings: bool | int | str) -> None:
    fields = {bool: "bool_param", int: "uint32_param", str: "string_param"}
    values = {name: Value(**{fields[type(value)]: value}) for name, value in settings.items()}
    change_log_settings(pb.LogSettingsRequest(settings=values))


def told() -> tuple[bool, bool, bool, int]:
    settings = log_settings().settings
    names = ("log_error", "log_warning", "log_info")
    error, warning, info = (settings[name].bool_param for name in names)
    return error, warning, info, settings["log_verbose_level"].uint32_param


def test_more_and_less() -> None:
    assert told() == (True, True, True, 0)
    change(log_verbose_level=3)
    assert told() == (True, True, True, 1)
    assert [logging.getLogger(name).level for name in OURS] == [logging.DEBUG] * 2
    change(log_verbose_level=0, log_info=False)
    assert told() == (True, True, False, 0)
    change(log_warning=False)
    assert told() == (True, False, False, 0)
    change(log_warning=True, log_info=True)
    assert told() == (True, True, True, 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"log_error": False},
        {"log_warning": False},  # while log_info is on
        {"log_info": False, "log_verbose_level": 1},
        {"log_info": 1},
        {"log_verbose_level": True},
        {"log_info": "yes"},
    ],
)
def test_what_makes_no_sense_changes_nothing(settings: dict[str, bool | int | str]) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        change(**settings)
    assert told() == (True, True, True, 0)


@pytest.mark.parametrize("settings", [{"log_file": "/tmp/x"}, {"log_format": "ISO8601"}, {"colour": True}])
def test_where_to_stays_with_the_configuration(settings: dict[str, bool | int | str]) -> None:
    with pytest.raises(NotOffered, match="not a setting of this box"):
        change(log_info=False, **settings)
    assert told() == (True, True, True, 0)


def test_a_device_may_read_and_not_change() -> None:
    with pytest.raises(NotAllowed, match="expected a caller of role ops or technician and got device"):
        demand("LogSettings with values", Caller("x", frozenset((CallerRole.DEVICE,))), KEEPERS)
