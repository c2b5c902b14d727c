"""What the daemon writes to stderr: one line an event, for people on a terminal and JSON everywhere else."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from types import TracebackType
from typing import Any

from appliance.config import LogConfig

STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class SafeFormatter(logging.Formatter):
    """Base of both formats: of an exception only its kind and the places in the code, never its text.

    An exception's text can hold parts of the input, and with them patient data.
    """

    def formatException(self, ei: ExceptionInfo) -> str:  # noqa: N802 - logging's name
        """Kinds and places along the chain of causes."""
        lines = []
        error = ei[1]
        while error is not None:
            lines.append(type(error).__name__)
            lines += [
                f"  at {frame.filename}:{frame.lineno} in {frame.name}"
                for frame in traceback.extract_tb(error.__traceback__)
            ]
            error = error.__cause__
        return "\n".join(lines)


class HumanFormatter(SafeFormatter):
    """`12:34:56 warning  text (key=value)`."""

    def format(self, record: logging.LogRecord) -> str:
        """One event."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        extra = ", ".join(f"{key}={value}" for key, value in _extra(record).items())
        line = f"{clock} {record.levelname.lower():<8} {record.getMessage()}{f' ({extra})' if extra else ''}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(SafeFormatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One event."""
        event: dict[str, Any] = {
            "time_ms": round(record.created * 1000),
            "level": record.levelname.lower(),
            "source": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False, default=str)


def start_logging(config: LogConfig) -> None:
    """Send our own events from the configured level on, and other libraries' warnings, to stderr."""
    human = config.format == "human" or (config.format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(HumanFormatter() if human else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("appliance", "engines"):
        logging.getLogger(name).setLevel(config.level.upper())


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in STANDARD_FIELDS}
