from __future__ import annotations

from pathlib import Path

import pytest

from appliance.models.manifest import Role
from appliance.models.reference import REFERENCE_CONTRACTS
from engine_builder.errors import BuildFailed
from engine_builder.quantize import CalibrationMethod
from engine_builder.recipe import find_callable, read_recipe
from tests.conftest import REPOSITORY

RECIPE = """
name = "tiny"
version = "1.0.0"
role = "karyotype.classifier"

[network]
build = "tests.simulators.tiny_task:network"
checkpoint = "tiny.pt"

[contract]
inputs = [{ name = "image", datatype = "FP32", shape = [1, 1, 8, 8] }]
outputs = [{ name = "logits", datatype = "FP32", shape = [1, 4] }]

[contract.preprocessing]
method = "upright-crop"
parameters = { height = 8, width = 8 }

[contract.labels]
names = ["a", "b", "c", "d"]
output = "logits"

[calibration]
source = "tests.simulators.tiny_task:calibration"
samples = 8
method = "percentile"
percentile = 99.9
exclude = ["head"]

[metric]
source = "tests.simulators.tiny_task:metric"

[[acceptance]]
metric = "parity.logits.cosine"
bound = "at_least"
limit = 0.99

[golden]
source = "tests.simulators.tiny_task:golden"
cases = 2

[golden.tolerance.logits]
min_cosine = 0.99

[card]
summary = "Sorts noise."
training_data = ["none"]
limitations = "All of them."
training_command = "none"
"""


def test_a_gate_that_cannot_fail_is_no_gate(tmp_path: Path) -> None:
    vacuous = RECIPE.replace("limit = 0.99\n\n[golden]", "limit = 0.0\n\n[golden]")
    with pytest.raises(
        BuildFailed, match=r"a threshold that parity\.logits\.cosine can miss and got at least 0"
    ):
        read_recipe(write(tmp_path, vacuous))
    start, end = RECIPE.index("[[acceptance]]"), RECIPE.index("[golden]")
    with pytest.raises(BuildFailed, match="acceptance"):
        read_recipe(write(tmp_path, RECIPE[:start] + RECIPE[end:]))


def write(tmp_path: Path, text: str = RECIPE) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(text)
    return path


def test_a_recipe_is_read_and_typed(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path))
    assert recipe.role is Role.KARYOTYPE_CLASSIFIER
    assert recipe.calibration.settings.method is CalibrationMethod.PERCENTILE
    assert recipe.calibration.settings.exclude == ("head",)
    assert recipe.network.opset == 18
    assert recipe.resolved_contract().labels.names == ("a", "b", "c", "d")


def test_without_a_contract_of_its_own_it_has_the_reference_contract(tmp_path: Path) -> None:
    start, end = RECIPE.index("[contract]"), RECIPE.index("[calibration]")
    recipe = read_recipe(write(tmp_path, RECIPE[:start] + RECIPE[end:]))
    assert recipe.resolved_contract() == REFERENCE_CONTRACTS[Role.KARYOTYPE_CLASSIFIER]


def test_labels_that_do_not_fit_the_outputs_are_a_mistake(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, RECIPE.replace('"c", "d"]', '"c"]')))
    with pytest.raises(BuildFailed, match="expected 3 channels in output logits for 3 labels"):
        recipe.resolved_contract()


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    text = RECIPE.replace("samples = 8", "samples = 0").replace('"head"]', '"("]') + '\ncolour = "blue"\n'
    with pytest.raises(BuildFailed) as caught:
        read_recipe(write(tmp_path, text))
    for part in (
        "calibration.samples: ",
        "calibration.exclude: ",
        "card.colour: Extra inputs are not permitted",
    ):
        assert part in str(caught.value)


def test_files_that_are_no_recipes_are_mistakes(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"expected tiny.toml to be TOML and got"):
        read_recipe(write(tmp_path, "name = "))
    with pytest.raises(BuildFailed, match="expected a recipe file and got none at"):
        read_recipe(tmp_path / "absent.toml")


def test_callables_are_found_or_their_absence_is_said() -> None:
    assert find_callable("pathlib:Path") is Path
    for name, sentence in (
        ("no_such_module:f", "expected a function at no_such_module:f and got"),
        ("pathlib:absent", "expected a function at pathlib:absent and got"),
        ("math:pi", "expected a function at math:pi and got float"),
    ):
        with pytest.raises(BuildFailed, match=sentence):
            find_callable(name)


def test_the_factory_recipes_are_valid_and_keep_the_contracts_that_the_pipelines_know() -> None:
    paths = sorted((REPOSITORY / "build" / "recipes").glob("*.toml"))
    recipes = [read_recipe(path) for path in paths]
    assert {recipe.role for recipe in recipes} == set(Role)
    for recipe in recipes:
        assert recipe.resolved_contract() == REFERENCE_CONTRACTS[recipe.role]
        outputs = {entry.name for entry in recipe.resolved_contract().outputs}
        assert set(recipe.golden.tolerance) <= outputs
        assert recipe.acceptance
