from __future__ import annotations

from appliance.models.manifest import (
    Acceptance,
    GoldenCase,
    Labels,
    Manifest,
    ModelCard,
    ObjectMatching,
    PackFile,
    Precision,
    Preprocessing,
    PreprocessingMethod,
    Role,
    TensorEntry,
    Tolerance,
)
from appliance.models.pack import PackLimits
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "model-packs.md").read_text(encoding="utf-8")


def test_every_key_of_a_manifest_is_documented() -> None:
    parts = (
        Manifest,
        PackFile,
        TensorEntry,
        Preprocessing,
        Labels,
        Tolerance,
        GoldenCase,
        ObjectMatching,
        Acceptance,
        ModelCard,
    )
    missing = [
        f"{part.__name__}.{key}" for part in parts for key in part.model_fields if f"`{key}`" not in PAGE
    ]
    assert missing == []


def test_every_value_of_a_closed_set_is_documented() -> None:
    values = [member.value for kind in (Role, Precision, PreprocessingMethod) for member in kind]
    assert [value for value in values if f"`{value}`" not in PAGE] == []


def test_the_bounds_are_documented() -> None:
    limits = PackLimits()
    assert f"{limits.max_file_bytes >> 20} MiB a file, {limits.max_total_bytes >> 30} GiB in all" in PAGE
    assert f"at most {limits.max_manifest_bytes >> 20} MiB" in PAGE
