"""From a user's export to a pack that a box serves, in every layout and precision; and each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from click.testing import CliRunner

pytest.importorskip("onnxruntime", reason="onnxruntime is in the build extra only")

from appliance.analysis import Film
from appliance.app import FindingModels
from appliance.chest_xray.pipeline import ChestXrayPipeline
from appliance.errors import PackRejected
from appliance.imaging.image import Image, MediaType
from appliance.inference import InferenceService
from appliance.inference.request import RequestContext
from appliance.models.film_contract import HeadLayout, film_contract_mismatch
from appliance.models.manifest import Precision, Role
from appliance.models.pack import ModelPack
from appliance.models.registry import ModelRegistry, ModelState
from engine_builder.cli import cli
from engine_builder.errors import BuildFailed
from engine_builder.yolo.films import phantom_films
from engine_builder.yolo.graph import read_yolo_graph
from engine_builder.yolo.packing import YoloOptions, YoloPacked, pack_yolo
from engines.onnxruntime_engine import OnnxRuntimeEngine
from engines.options import EngineOptions
from engines.pixels import PixelInput
from tests.conftest import REPOSITORY
from tests.simulators.packs import rewrite
from tests.simulators.yolo_graphs import Export, write_export

LABELS = ("Nodule", "Mass", "Effusion")
ROLE = Role.CHEST_XRAY_DETECTOR


def options(**changes: Any) -> YoloOptions:
    given: dict[str, Any] = {
        "name": "mine",
        "version": "1.0.0",
        "training_data": ("my films",),
        "limitations": "all",
        "labels": LABELS,
        **changes,
    }
    return YoloOptions(**given)


def pack(folder: Path, export: Export, **changes: Any) -> YoloPacked:
    source = write_export(folder / "export.onnx", export)
    return pack_yolo(source, options(**changes), folder / "packs", OnnxRuntimeEngine)


def open_for_box(model_path: Path, pixels: PixelInput | None = None) -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(model_path, EngineOptions(pixels=pixels))


def serve(directory: Path) -> Film:
    """The answer about a bright square, by the daemon's own registry and pipeline."""
    registry = ModelRegistry(
        open_for_box, {}, contract_checks={ROLE: film_contract_mismatch}, warm_up_batch=1
    )
    with registry, InferenceService(registry) as inference:
        registry.load([directory])
        status = registry.status(ROLE)
        assert status.state is ModelState.READY, status.reason

        grey = np.linspace(10, 120, 1200)[None].repeat(1500, axis=0).astype(np.uint8)
        grey[300:400, 640:740] = 215  # 0.84 of full scale
        image = Image(grey, MediaType.PNG, 8)
        film, _ = ChestXrayPipeline(inference, FindingModels(registry)).analyze(image, RequestContext())
        return film


EXPORTS = {
    "grid": Export(),
    "grid at 1024": Export(size=1024),
    "grid that divides": Export(divides=True),
    "end-to-end": Export(end_to_end=True),
    "end-to-end at 1024": Export(size=1024, end_to_end=True),
    "end-to-end by NonMaxSuppression": Export(end_to_end=True, suppressed=True),
}


@pytest.mark.parametrize("kind", EXPORTS)
def test_every_layout_is_packed_and_served(tmp_path: Path, kind: str) -> None:
    export = EXPORTS[kind]
    packed = pack(tmp_path, export)
    manifest = packed.pack.manifest
    assert packed.graph.layout is (HeadLayout.END_TO_END if export.end_to_end else HeadLayout.GRID)
    assert manifest.precision is Precision.FP32
    assert manifest.preprocessing.parameters["divisor"] == (1 if export.divides else 255)
    assert manifest.inputs[0].shape == (1, 3, export.size, export.size)
    assert manifest.thresholds == dict.fromkeys(LABELS, 0.25)
    film = serve(packed.pack.directory)
    best = film.findings[0]
    assert best.label == "Nodule"
    assert 640 <= best.box.x + best.box.width / 2 <= 740
    assert 300 <= best.box.y + best.box.height / 2 <= 400
    assert {one.label for one in film.findings} == {"Nodule", "Mass", "Effusion"}


def test_thresholds_of_the_pack_decide(tmp_path: Path) -> None:
    packed = pack(tmp_path, Export(), thresholds=(("Nodule", 0.99), ("Mass", 0.3)), default_threshold=0.98)
    assert packed.pack.manifest.thresholds == {"Nodule": 0.99, "Mass": 0.3, "Effusion": 0.98}
    assert {one.label for one in serve(packed.pack.directory).findings} == {"Mass"}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for number, film in enumerate(phantom_films(12, seed=9)):
        assert cv2.imwrite(str(folder / f"{number}.png"), film)
    return folder


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8])
@pytest.mark.parametrize("export", [Export(), Export(end_to_end=True)], ids=["grid", "end-to-end"])
def test_conversions_are_judged_by_what_they_find(
    tmp_path: Path, films: Path, precision: Precision, export: Export
) -> None:
    packed = pack(tmp_path, export, precision=precision, films=films)
    assert packed.agreement is not None
    assert packed.agreement.original > 0
    (gate,) = packed.pack.manifest.acceptance
    assert gate.metric == f"{precision.value.lower()}.agreement"
    assert gate.measured == pytest.approx(packed.agreement.share)
    assert packed.pack.manifest.precision is precision
    assert serve(packed.pack.directory).findings[0].label == "Nodule"


def test_a_conversion_that_loses_findings_makes_no_pack(tmp_path: Path, films: Path) -> None:
    with pytest.raises(BuildFailed, match=r"expected at least 100% of the findings .* and got"):
        pack(tmp_path, Export(), precision=Precision.INT8, films=films, min_agreement=1.0)
    assert not (tmp_path / "packs").exists()


def test_int8_needs_films(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"at least 8 films \(--films\) to calibrate INT8 on and got none"):
        pack(tmp_path, Export(), precision=Precision.INT8)


def test_the_factory_graph_is_packed_as_it_is(tmp_path: Path) -> None:
    from appliance.models.reference import FINDING_LABELS

    source = REPOSITORY / "engines/factory/chest-xray-demonstration/model.onnx"
    graph = read_yolo_graph(source)
    assert (graph.classes, graph.size, graph.precision) == (14, 640, Precision.INT8)
    packed = pack_yolo(source, options(labels=FINDING_LABELS), tmp_path / "packs", OnnxRuntimeEngine)
    assert packed.pack.manifest.precision is Precision.INT8
    assert packed.notes == ()


@pytest.mark.parametrize("end_to_end", [False, True])
def test_labels_that_are_not_the_heads_build_no_pack(tmp_path: Path, end_to_end: bool) -> None:
    fifteen = Export(classes=15, end_to_end=end_to_end)
    fourteen = tuple(f"finding {number}" for number in range(14))
    with pytest.raises(BuildFailed, match=r"expected 15 labels, one for each class of the head, and got 14"):
        pack(tmp_path, fifteen, labels=fourteen)
    assert not (tmp_path / "packs").exists()


@pytest.mark.parametrize("end_to_end", [False, True])
def test_labels_that_were_cut_from_a_pack_do_not_load(tmp_path: Path, end_to_end: bool) -> None:
    directory = pack(tmp_path, Export(end_to_end=end_to_end)).pack.directory

    def cut(tree: dict[str, Any]) -> None:
        tree["labels"]["names"] = tree["labels"]["names"][:2]
        del tree["thresholds"]["Effusion"]

    rewrite(directory, cut)
    with pytest.raises(PackRejected, match=r"expected (6 channels|3 labels)"):
        ModelPack.open(directory)


def test_a_list_in_another_order_than_the_graphs_own_names_is_refused(tmp_path: Path) -> None:
    export = Export(names=("Mass", "Nodule", "Effusion"))
    with pytest.raises(BuildFailed, match=r"class 0 to be 'Mass', as the graph's own .* and got 'Nodule'"):
        pack(tmp_path, export)
    packed = pack(tmp_path, export, labels=())
    assert packed.pack.manifest.labels.names == ("Mass", "Nodule", "Effusion")


def test_no_labels_anywhere(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="a list of labels, because the graph carries no names"):
        pack(tmp_path, Export(), labels=())


def test_a_dynamic_export_is_told_how_to_become_a_fixed_one(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="dynamic=False"):
        pack(tmp_path, Export(dynamic=True))


def test_another_input_scaling_is_not_served(tmp_path: Path) -> None:
    source = write_export(tmp_path / "export.onnx", Export(divides=True))
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if tensor.name == "full_scale":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(128.0, np.float32), "full_scale"))
    onnx.save(model, source)
    with pytest.raises(BuildFailed, match=r"got Div with \[128\.\] before the first layer"):
        read_yolo_graph(source)


def test_thresholds_for_no_label_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="a threshold for one of Nodule, Mass, Effusion and got 'Masss'"):
        pack(tmp_path, Export(), thresholds=(("Masss", 0.3),))
    with pytest.raises(BuildFailed, match="between 0 and 1 for Mass and got 0"):
        pack(tmp_path, Export(), thresholds=(("Mass", 0.0),))


def test_what_is_no_detector_is_refused(tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.onnx"
    rubbish.write_bytes(b"rubbish")
    with pytest.raises(BuildFailed, match=r"expected rubbish\.onnx to be an ONNX file and got"):
        read_yolo_graph(rubbish)
    classifier = REPOSITORY / "engines/factory/chromosome-classifier/model.onnx"
    with pytest.raises(BuildFailed, match="one input and one output and got 1 and 2"):
        read_yolo_graph(classifier)


def test_the_command_packs_and_tells(tmp_path: Path) -> None:
    source = write_export(tmp_path / "export.onnx", Export())
    labels = tmp_path / "labels.txt"
    labels.write_text("Nodule\nMass\nEffusion\n")
    words = ["pack-yolo", str(source), "--name", "mine", "--pack-version", "1.0.0", "--labels", str(labels)]
    words += ["--threshold", "Mass=0.4", "--trained-on", "my films", "--limitations", "all of them"]
    done = CliRunner().invoke(cli, [*words, "--output", str(tmp_path / "packs")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "grid layout, 640², FP32" in done.output
    card = (tmp_path / "packs" / "mine" / "MODEL_CARD.md").read_text()
    assert "research use only" in card
    assert "- Mass: from 0.4" in card
    wrong = CliRunner().invoke(cli, [*words, "--threshold", "Mass", "--output", str(tmp_path)])
    assert wrong.exit_code != 0


@pytest.mark.parametrize(
    ("text", "message"),
    [("a\n\nb\nc", "on line 2"), ("a\nb\na", "each label once in labels.txt and got a more often")],
)
def test_mistakes_of_a_label_list(tmp_path: Path, text: str, message: str) -> None:
    from engine_builder.yolo.labels import read_labels

    path = tmp_path / "labels.txt"
    path.write_text(text)
    with pytest.raises(BuildFailed, match=message):
        read_labels(path)
