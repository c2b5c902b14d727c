"""Keeps pydicom and highdicom silent: their warnings and log lines quote headers, and so patient data."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_ALONE = threading.Lock()  # Python's warning filters belong to the whole process


@contextmanager
def quietly() -> Iterator[None]:
    """Nothing is warned or logged by the two libraries inside; one thread at a time."""
    for name in ("pydicom", "highdicom"):
        logging.getLogger(name).disabled = True
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.startswith("highdicom.") and isinstance(logger, logging.Logger):
            logger.disabled = True
    with _ALONE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
