"""The daemon's own exams: there is one for each role, the factory packs keep their floors, wrong answers do
not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import engines
from appliance.errors import PackRejected
from appliance.models.factory import FactoryPacks
from appliance.models.manifest import Role
from appliance.models.pack import ModelPack
from appliance.models.pixels import pixel_input
from appliance.updates.agreement import agreement
from appliance.updates.exam import Exam, score
from appliance.updates.exam_room import SHIPPED
from engines import EngineOptions, open_engine

FACTORY = Path(engines.__file__).parent / "factory"


@pytest.mark.parametrize("role", Role, ids=lambda role: role.value)
def test_there_is_an_exam_for_each_role(role: Role) -> None:
    exam = Exam.read(SHIPPED / f"{role.value}.npz")
    assert 0.0 < float(exam.arrays["floor"]) < 1.0
    images = next(exam.arrays[name] for name in ("crops", "fields", "films") if name in exam.arrays)
    assert images.dtype == np.uint8
    assert len(images) >= 3


def test_the_factory_classifier_keeps_its_floor_and_shifted_labels_do_not() -> None:
    directory = FactoryPacks(FACTORY).find(Role.KARYOTYPE_CLASSIFIER)
    if directory is None:
        pytest.skip("no factory pack of the classifier")
    pack = ModelPack.open(directory)
    exam = Exam.read(SHIPPED / "karyotype.classifier.npz")
    floor = float(exam.arrays["floor"])
    with open_engine(pack.model_path, EngineOptions(pixels=pixel_input(pack.manifest))).engine as engine:
        honest = score(pack.manifest, engine.infer, exam)

        def shifted(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
            found = engine.infer(tensors)
            return found | {"class_logits": np.roll(found["class_logits"], 1, axis=1)}

        wrong = score(pack.manifest, shifted, exam)  # type: ignore[arg-type]
    assert np.mean(honest) >= floor
    assert np.mean(wrong) < 0.2


def test_an_exam_of_another_role_cannot_be_scored(tmp_path: Path) -> None:
    directory = FactoryPacks(FACTORY).find(Role.KARYOTYPE_CLASSIFIER)
    if directory is None:
        pytest.skip("no factory pack of the classifier")
    manifest = ModelPack.open(directory).manifest
    exam = Exam.read(SHIPPED / "karyotype.detector.npz")
    with pytest.raises(PackRejected, match=r"an exam for karyotype\.classifier"):
        score(manifest, lambda _tensors: {}, exam)
    (tmp_path / "exam.npz").write_bytes(b"no archive")
    with pytest.raises(PackRejected, match=r"expected an exam in exam\.npz"):
        Exam.read(tmp_path / "exam.npz")


def test_agreement_of_each_role() -> None:
    logits = np.eye(4, dtype=np.float32)
    assert agreement(Role.KARYOTYPE_CLASSIFIER, {"class_logits": logits}, {"class_logits": logits}) == 1.0
    rolled = {"class_logits": np.roll(logits, 1, axis=1)}
    assert agreement(Role.KARYOTYPE_CLASSIFIER, {"class_logits": logits}, rolled) == 0.0

    pixels = np.zeros((1, 3, 8, 8), np.float32)
    pixels[0, 1, :4] = 1.0
    half = pixels.copy()
    half[0, 1, 2:4] = 0.0
    assert agreement(Role.KARYOTYPE_SEGMENTER, {"logits": pixels}, {"logits": pixels}) == 1.0
    assert agreement(Role.KARYOTYPE_SEGMENTER, {"logits": pixels}, {"logits": half}) == pytest.approx(2 / 3)

    boxes = np.array([[[0, 0, 10, 10], [20, 20, 30, 30]]], np.float32)
    both = {"boxes": boxes, "scores": np.array([[0.9, 0.8]], np.float32)}
    one = {"boxes": boxes, "scores": np.array([[0.9, 0.1]], np.float32)}
    none = {"boxes": boxes, "scores": np.array([[0.1, 0.1]], np.float32)}
    assert agreement(Role.KARYOTYPE_DETECTOR, both, both) == 1.0
    assert agreement(Role.KARYOTYPE_DETECTOR, both, one) == 0.5
    assert agreement(Role.KARYOTYPE_DETECTOR, both, none) == 0.0
    assert agreement(Role.KARYOTYPE_DETECTOR, none, none) == 1.0

    film = np.zeros((1, 6, 3), np.float32)
    film[0, :4, 0] = 50, 50, 20, 20
    film[0, 4, 0] = 0.9
    other = film.copy()
    other[0, 4:, 0] = 0.0, 0.9
    assert agreement(Role.CHEST_XRAY_DETECTOR, {"output0": film}, {"output0": film}) == 1.0
    assert agreement(Role.CHEST_XRAY_DETECTOR, {"output0": film}, {"output0": other}) == 0.0
