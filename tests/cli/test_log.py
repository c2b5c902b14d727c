from __future__ import annotations

import json
import logging
import sys

import pytest

from appliance.cli.log import HumanFormatter, JsonFormatter


def record(**fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": "it %s", "args": ("happened",), "levelname": "WARNING", "name": "x"})
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def fault() -> logging.LogRecord:
    try:
        try:
            raise KeyError("patient Smith")
        except KeyError as exc:
            raise ValueError("patient Jones") from exc
    except ValueError:
        return record(exc_info=sys.exc_info(), incident="ab12")


def test_json_lines_carry_their_fields() -> None:
    event = json.loads(JsonFormatter().format(record(role="karyotype.detector")))
    assert event["message"] == "it happened"
    assert event["level"] == "warning"
    assert event["role"] == "karyotype.detector"
    assert isinstance(event["time_ms"], int)


def test_human_lines() -> None:
    line = HumanFormatter().format(record(role="x"))
    assert line.endswith("warning  it happened (role=x)")


@pytest.mark.parametrize("formatter", [JsonFormatter(), HumanFormatter()])
def test_an_exceptions_text_never_reaches_the_log(formatter: logging.Formatter) -> None:
    text = formatter.format(fault())
    assert "Smith" not in text
    assert "Jones" not in text
    assert "ValueError" in text
    assert "KeyError" in text
    assert "test_log.py" in text
    assert "ab12" in text
