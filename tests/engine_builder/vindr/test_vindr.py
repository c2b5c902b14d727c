"""A made-up folder in VinDr-CXR's two layouts: read, split by patient, trained for a step, reported."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pydicom", reason='the extra "dicom" is not installed')

from appliance.models.reference import FINDING_LABELS
from appliance.phantoms.chest_film import chest_phantom
from engine_builder.errors import BuildFailed
from engine_builder.metrics import Interval, ScoredImage, mean_average_precision_interval
from engine_builder.recipe import Infer, Tensors, read_recipe
from engine_builder.vindr.annotations import read_annotations, read_parts
from engine_builder.vindr.films import VindrSet, load_set
from engine_builder.vindr.report import measure, write_report
from tests.conftest import REPOSITORY
from tests.imaging.dicom_writer import write_film

COLUMNS = ("image_id", "class_name", "class_id", "rad_id", "x_min", "y_min", "x_max", "y_max")
SIDE = 320
FILMS = 30
PATIENTS = 15
BOX = (100.0, 80.0, 180.0, 160.0)

Row = tuple[str, str, str, str, str, str, str, str]


def row(image: str, label: str, reader: str, box: tuple[float, ...] | None) -> Row:
    corners = [f"{value}" for value in box] if box else [""] * 4
    return (image, label, "0", reader, corners[0], corners[1], corners[2], corners[3])


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def write_films(folder: Path, names: list[str], patient: str = "patient {}") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    film = chest_phantom(rng, 512).image
    film = np.asarray(cv2.resize(film, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    for number, name in enumerate(names):
        shown = film.copy()
        if number % 2 == 0:
            x0, y0, x1, y1 = (int(value) for value in BOX)
            shown[y0:y1, x0:x1] = 255
        data = write_film(
            shown,
            PatientID=patient.format(number % PATIENTS) if patient else None,
            PatientName=None,
            WindowCenter=128,
            WindowWidth=256,
        )
        (folder / f"{name}.dicom").write_bytes(data)


@pytest.fixture(scope="module")
def challenge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train.csv` and `train/`; every other film has one nodule, drawn by two readers, and nothing else."""
    folder = tmp_path_factory.mktemp("challenge")
    names = [f"film{number:02}" for number in range(FILMS)]
    write_films(folder / "train", names)
    rows = []
    for number, name in enumerate(names):
        if number % 2 == 0:
            shifted = tuple(value + 4 for value in BOX)
            rows += [row(name, "Nodule/Mass", "R1", BOX), row(name, "Nodule/Mass", "R2", shifted)]
        else:
            rows += [row(name, "No finding", reader, None) for reader in ("R1", "R2", "R3")]
    write_csv(folder / "train.csv", rows)
    return folder


@pytest.fixture(scope="module")
def films(challenge: Path, tmp_path_factory: pytest.TempPathFactory) -> VindrSet:
    return load_set(challenge, tmp_path_factory.mktemp("cache"))


def test_readers_are_merged_and_films_without_findings_stay(challenge: Path) -> None:
    (part,) = read_parts(challenge)
    assert len(part.annotated) == FILMS
    found = part.annotated["film00"]
    np.testing.assert_allclose(found.boxes, [np.array(BOX) + 2])
    assert [FINDING_LABELS[label] for label in found.labels] == ["Nodule/Mass"]
    assert len(part.annotated["film01"].labels) == 0


def test_boxes_of_one_label_that_lie_apart_stay_two_and_local_labels_are_other_lesions(
    tmp_path: Path,
) -> None:
    path = tmp_path / "train.csv"
    far = (200.0, 200.0, 240.0, 240.0)
    write_csv(
        path,
        [
            row("a", "ILD", "R1", BOX),
            row("a", "ILD", "R2", far),
            row("a", "Cardiomegaly", "R2", BOX),
            row("a", "Rib fracture", "R1", BOX),
        ],
    )
    annotated, folded = read_annotations(path)
    names = sorted(FINDING_LABELS[label] for label in annotated["a"].labels)
    assert names == ["Cardiomegaly", "ILD", "ILD", "Other lesion"]
    assert folded == {"Rib fracture": 1}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (row("a", "Nodule", "R1", BOX), "a label of VinDr-CXR in line 2 of train.csv and got 'Nodule'"),
        (row("a", "ILD", "R1", None), "four numbers for the box in line 2"),
        (row("a", "ILD", "R1", (5, 5, 5, 9)), "a box in line 2 of train.csv and got 5 5 5 9"),
    ],
)
def test_rows_that_are_not_understood(tmp_path: Path, wrong: Row, message: str) -> None:
    write_csv(tmp_path / "train.csv", [wrong])
    with pytest.raises(BuildFailed, match=message):
        read_annotations(tmp_path / "train.csv")


def test_no_such_folder_missing_films_and_strange_names(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"expected VinDr-CXR in .* and got neither"):
        read_parts(tmp_path)
    write_csv(tmp_path / "train.csv", [row("absent", "No finding", "R1", None)])
    with pytest.raises(BuildFailed, match=r"expected the films of train\.csv in"):
        read_parts(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(BuildFailed, match="expected the film absent in"):
        load_set(tmp_path, tmp_path / "cache")
    write_csv(tmp_path / "train.csv", [row("../../etc/passwd", "No finding", "R1", None)])
    with pytest.raises(BuildFailed, match="a plain file name"):
        load_set(tmp_path, tmp_path / "cache")


def test_no_patient_is_in_two_parts(films: VindrSet) -> None:
    parts = [films.train, films.val, films.test]
    assert sum(len(part) for part in parts) == FILMS
    patients = [{film.entry.patient for film in part} for part in parts]
    assert sum(len(found) for found in patients) == PATIENTS
    assert all(patients)
    assert {film.entry.grouped_by for film in films.train} == {"patient"}


def test_truth_lies_on_the_network_input(films: VindrSet) -> None:
    film = next(film for film in films.train if len(film.labels))
    x0, y0, x1, y1 = film.boxes[0].round().astype(int)
    grey = film.grey()
    assert grey.shape == (640, 640)
    assert grey[y0 + 8 : y1 - 8, x0 + 8 : x1 - 8].min() > 250
    assert grey[y0 + 20, x0 - 16] < 250


def test_the_cache_is_used_again(challenge: Path, films: VindrSet, tmp_path: Path) -> None:
    del films
    first = load_set(challenge, tmp_path)
    stamps = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert load_set(challenge, tmp_path).test[0].entry == first.test[0].entry
    assert stamps == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_a_folder_with_a_test_part_keeps_it_and_its_patients_out_of_training(tmp_path: Path) -> None:
    folder = tmp_path / "physionet"
    train, test = [f"a{number}" for number in range(15)], [f"b{number}" for number in range(3)]
    write_films(folder / "train", train)
    write_films(folder / "test", test)  # patients 0 to 2 again
    for name, names in (("train", train), ("test", test)):
        rows = [row(one, "Nodule/Mass", "R1", BOX) for one in names]
        write_csv(folder / "annotations" / f"annotations_{name}.csv", rows)
    films = load_set(folder, tmp_path / "cache")
    assert {film.entry.image_id for film in films.test} == set(test)
    assert len(films.train) + len(films.val) == 12
    seen = {film.entry.patient for film in (*films.train, *films.val)}
    assert not seen & {film.entry.patient for film in films.test}


def test_more_than_a_few_films_that_cannot_be_read_stop_it(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    write_films(folder / "train", ["good", "bad"])
    (folder / "train" / "bad.dicom").write_bytes(b"rubbish" * 100)
    write_csv(folder / "train.csv", [row(name, "No finding", "R1", None) for name in ("good", "bad")])
    with pytest.raises(BuildFailed, match="readable films and got 1 of 2 that are not: bad: expected PNG"):
        load_set(folder, tmp_path / "cache")


def perfect(films: VindrSet) -> Infer:
    """Finds every bright square, as a detector's grid would say it."""

    def infer(tensors: Tensors) -> dict[str, NDArray[np.float32]]:
        plane = tensors["images"][0, 0]
        output = np.zeros((1, 18, 8400), np.float32)
        rows, columns = np.nonzero(plane > 0.99)
        if len(rows) > 1000:
            x0, x1, y0, y1 = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
            output[0, :4, 7] = (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
            output[0, 4 + FINDING_LABELS.index("Nodule/Mass"), 7] = 0.9
        return {"output0": output}

    del films
    return infer


def test_the_report_scores_each_class_with_intervals(films: VindrSet, tmp_path: Path) -> None:
    report = measure(perfect(films), films.test, rounds=50)
    assert [(one.label, one.min_iou) for one in report.classes] == [
        ("Nodule/Mass", 0.4),
        ("Nodule/Mass", 0.5),
    ]
    assert report.mean["map40"].value == pytest.approx(1.0)
    assert "ILD" in report.absent
    path, table = write_report(report, films, tmp_path)
    tree = json.loads(path.read_text())
    assert tree["patients"]["test"] == len({film.entry.patient for film in films.test})
    assert "| Nodule/Mass |" in table.read_text()
    assert "research use only" in table.read_text()
    blind = measure(lambda _: {"output0": np.zeros((1, 18, 8400), np.float32)}, films.test, rounds=50)
    assert blind.mean["map50"] == Interval(0.0, 0.0, 0.0, len(films.test))


def test_the_mean_over_classes_leaves_out_what_a_resample_lacks() -> None:
    box = np.array([[0.0, 0.0, 10.0, 10.0]])
    none = np.zeros((0, 4))

    def image(found: bool, true: bool, cluster: int) -> ScoredImage:
        scores = np.array([0.9] if found else [])
        return ScoredImage(
            box if found else none,
            scores,
            np.zeros(len(scores), np.int64),
            box if true else none,
            np.zeros(int(true), np.int64),
            cluster,
        )

    common = [image(True, True, number) for number in range(6)]
    rare = [image(False, number == 0, number) for number in range(6)]
    both = mean_average_precision_interval([common, rare], 0.5, rounds=200)
    assert both.value == pytest.approx(0.5)
    assert (both.low, both.high) == (pytest.approx(0.5), pytest.approx(1.0))
    with pytest.raises(ValueError, match="over the same images"):
        mean_average_precision_interval([common, rare[:3]], 0.5)


@pytest.mark.slow
def test_a_step_of_training_leaves_a_checkpoint_and_a_report(challenge: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is in the build extra only")
    from engine_builder.training.vindr import train

    checkpoint = train(challenge, tmp_path / "cache", tmp_path / "checkpoints", steps=1, batch=1)
    assert checkpoint.name == "vindr.pt"
    assert checkpoint.is_file()
    tree = json.loads((tmp_path / "checkpoints" / "vindr.report.json").read_text())
    assert set(tree["mean"]) == {"map40", "map50"}
    assert tree["films"]["train"] > tree["films"]["test"] > 0


def test_the_recipe_is_one() -> None:
    pytest.importorskip("torch", reason="torch is in the build extra only")
    from engine_builder.recipe import find_callable

    recipe = read_recipe(REPOSITORY / "build" / "recipes" / "vindr.toml")
    for name in (recipe.network.build, recipe.calibration.source, recipe.metric.source, recipe.golden.source):
        assert callable(find_callable(name))
    assert recipe.resolved_contract().labels.names == FINDING_LABELS
