"""A daemon in a process of its own, with packs of a few nodes, shared by the tests of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.client import ApplianceClient, LocalDaemon
from tests.simulators.contract_packs import write_packs


@pytest.fixture(scope="package")
def pack_settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration file that names the packs."""
    folder = tmp_path_factory.mktemp("packs")
    path = folder / "appliance.toml"
    path.write_text(f'[models]\ndirectory = "{write_packs(folder / "packs")}"\n')
    return path


@pytest.fixture(scope="package")
def engine_cache_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled engines go to a temporary folder, not to the home of who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="package")
def daemon(pack_settings: Path, engine_cache_home: None) -> Iterator[LocalDaemon]:  # noqa: ARG001
    with LocalDaemon(("--config", str(pack_settings))) as daemon, ApplianceClient(daemon.address) as client:
        status = daemon.wait_until_started(client)
        assert status.ready, list(status.problems)
        yield daemon
