"""The DICOM UID of this box: made once from a random UUID, kept in the state directory."""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path

from appliance.errors import StorageUnavailable

FILE_NAME = "dicom-device-uid"
_UID = re.compile(r"2\.25\.[1-9][0-9]{0,38}")


def device_uid(state_directory: Path) -> str:
    """The UID that reports name as their observer (PS3.16, TID 1004); the same after every restart.

    Raises:
        StorageUnavailable: it cannot be read or written.
    """
    path = state_directory / FILE_NAME
    try:
        known = path.read_text(encoding="ascii", errors="replace").strip() if path.exists() else ""
        if _UID.fullmatch(known):
            return known
        made = f"2.25.{uuid.uuid4().int}"
        temporary = path.with_suffix(".new")
        with temporary.open("w", encoding="ascii") as file:
            file.write(f"{made}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as exc:
        raise StorageUnavailable(f"cannot keep the box's DICOM UID: {exc.strerror}") from exc
    return made
