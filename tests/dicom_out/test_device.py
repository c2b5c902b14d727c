from __future__ import annotations

from pathlib import Path

import pytest

from appliance.dicom_out.device import FILE_NAME, device_uid
from appliance.errors import StorageUnavailable


def test_a_box_keeps_its_uid(tmp_path: Path) -> None:
    uid = device_uid(tmp_path)
    assert uid.startswith("2.25.")
    assert len(uid) <= 64
    assert device_uid(tmp_path) == uid


def test_rubbish_is_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"\xff\xfe 1.2.3")
    uid = device_uid(tmp_path)
    assert uid.startswith("2.25.")
    assert device_uid(tmp_path) == uid


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="DICOM UID"):
        device_uid(tmp_path / "none")
