"""Pseudonyms: stable on one site, different on every other, and a secret that stays one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ConfigurationError, StorageUnavailable
from appliance.privacy import Pseudonyms, site_secret

UID = "1.2.840.113619.2.5.1762583153"


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.text(min_size=1))
def test_one_site_one_pseudonym(secret: bytes, other: bytes, uid: str) -> None:
    made = Pseudonyms(secret).uid(uid)
    assert made == Pseudonyms(secret).uid(uid)
    assert re.fullmatch(r"2\.25\.[1-9][0-9]{0,38}", made)
    assert len(made) <= 64
    assert (made == Pseudonyms(other).uid(uid)) == (secret == other)
    assert made != Pseudonyms(secret).uid(uid + "1")


def test_no_uid_has_no_pseudonym() -> None:
    assert Pseudonyms(bytes(32)).uid("") == ""
    with pytest.raises(ValueError, match="32 bytes and got 3"):
        Pseudonyms(b"abc")


def test_the_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    first = site_secret(tmp_path)
    assert len(first) == 32
    assert site_secret(tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == ["site-secret"]
    assert (tmp_path / "site-secret").stat().st_mode & 0o777 == 0o600
    (tmp_path / "other").mkdir()
    assert site_secret(tmp_path / "other") != first


def test_a_secret_that_others_may_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    site_secret(tmp_path)
    path = tmp_path / "site-secret"
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match=r"mode 600\) and got mode 640"):
        site_secret(tmp_path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(ConfigurationError, match=r"expected 32 bytes in .* and got 5"):
        site_secret(tmp_path)
    with pytest.raises(StorageUnavailable, match="cannot keep the site's secret"):
        site_secret(tmp_path / "absent")
