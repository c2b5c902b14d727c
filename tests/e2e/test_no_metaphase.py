"""Pictures that are no metaphase, through the daemon on the factory packs: refused, never counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.app import FACTORY
from appliance.client import ApplianceClient, CallError, LocalDaemon
from appliance.imaging import encode_png
from appliance.models.factory import pack_directories
from appliance.models.manifest import Role
from appliance.pb.karyotype_pb2 import AnalyzeMetaphaseRequest
from appliance.phantoms.demo import demo_chest_film

Grey = NDArray[np.uint8]


def text() -> Grey:
    page = np.full((900, 700), 240, np.uint8)
    for y in range(60, 860, 30):
        cv2.putText(page, "the quick brown fox jumps over", (20, y), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 20, 2)
    return page


def pebbles() -> Grey:
    rng = np.random.default_rng(1)
    ground = np.full((900, 700), 240, np.uint8)
    for _ in range(60):
        x, y = (int(value) for value in rng.integers(50, 650, 2))
        cv2.ellipse(ground, (x, y), (30, 9), float(rng.uniform(0, 180)), 0, 360, 60, -1)
    return ground


def clouds() -> Grey:
    noise = np.random.default_rng(1).normal(0.0, 1.0, (600, 800)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 9)
    return np.asarray(cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX), np.uint8)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceClient]:
    if len(pack_directories(FACTORY)) < len(Role):
        pytest.skip(f"expected {len(Role)} factory packs and got {len(pack_directories(FACTORY))}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        with LocalDaemon() as daemon, ApplianceClient(daemon.address) as client:
            daemon.wait_until_started(client)
            yield client


def refusal(client: ApplianceClient, encoded: bytes) -> tuple[str, str, str]:
    with pytest.raises(CallError) as caught:
        client.analyze_metaphase(AnalyzeMetaphaseRequest(encoded=encoded), 60.0)
    return caught.value.status, caught.value.kind, str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("picture", [text, pebbles, clouds, lambda: demo_chest_film().image])
def test_a_picture_that_is_no_metaphase_has_no_spread(
    client: ApplianceClient, picture: Callable[[], Grey]
) -> None:
    status, kind, words = refusal(client, encode_png(picture()))
    assert (status, kind) == ("FAILED_PRECONDITION", "UNSUITABLE_IMAGE")
    assert words.startswith("no metaphase spread found: ")


@pytest.mark.slow
def test_films_of_real_people_have_no_spread(client: ApplianceClient, chest_xrays: Path) -> None:
    for film in sorted(chest_xrays.glob("*.webp"))[:20]:
        assert refusal(client, film.read_bytes())[:2] == ("FAILED_PRECONDITION", "UNSUITABLE_IMAGE"), film
