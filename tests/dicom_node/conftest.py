"""A node between a real server over simulated engines and an archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.client import ApplianceClient
from appliance.config import Config, load_config
from appliance.dicom_node.node import DicomNode
from tests.simulators.appliance import Bench
from tests.simulators.archive import Archive
from tests.simulators.scanner import CALLING


def settings(folder: Path, archive: Archive, **more: object) -> Config:
    return load_config(
        state_dir=folder,
        dicom={
            "listen": "127.0.0.1:0",
            "calling_ae_titles": [CALLING],
            "destination": str(archive.entity),
            "first_retry_s": 0.05,
            "answer_s": 20.0,
            **more,
        },
    )


@pytest.fixture(scope="package")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("state")) as bench:
        bench.address = bench.serve()
        yield bench


@pytest.fixture
def archive() -> Iterator[Archive]:
    archive = Archive()
    yield archive
    archive.close()


@pytest.fixture
def daemon(bench: Bench) -> Iterator[ApplianceClient]:
    with ApplianceClient(bench.address) as client:
        yield client


@pytest.fixture
def node(tmp_path: Path, archive: Archive, daemon: ApplianceClient) -> Iterator[DicomNode]:
    archive.open()
    with DicomNode(settings(tmp_path, archive), daemon) as node:
        yield node
