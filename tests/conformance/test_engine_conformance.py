"""What every engine must do, whatever computes behind it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from engines.cache import CompileCache
from engines.errors import (
    EngineClosedError,
    EngineError,
    EngineInputError,
    EngineLoadError,
)
from engines.onnxruntime_engine import OnnxRuntimeEngine
from engines.options import EngineOptions, QuantizedGraph
from engines.tensor_spec import TensorSpec
from tests.conformance.conftest import Models, Opener

THREADS = 8


def crops(batch: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, 1, 32, 24)).astype(np.float32)


def reference(model: Path, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The file's own arithmetic: ONNX Runtime without any optimisation."""
    pytest.importorskip("onnxruntime", reason="the parity reference needs onnxruntime")
    with OnnxRuntimeEngine(model, EngineOptions(quantized_graph=QuantizedGraph.AS_IS)) as engine:
        return engine.infer(tensors)


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    a, b = first.ravel().astype(np.float64), second.ravel().astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_edges_are_described_by_the_models_own_names_shapes_and_datatypes(
    adapter: Opener, models: Models
) -> None:
    with adapter(models.classifier) as engine:
        assert engine.inputs == (TensorSpec("crops", "FP32", (-1, 1, 32, 24)),)
        assert engine.outputs == (
            TensorSpec("class_logits", "FP32", (-1, 24)),
            TensorSpec("polarity_logit", "FP32", (-1, 1)),
        )
    with adapter(models.arithmetic) as engine:
        assert {spec.name: spec.datatype for spec in engine.inputs} == {"a": "FP32", "b_int64": "INT64"}


def test_answers_agree_with_the_reference_on_a_float_model(adapter: Opener, models: Models) -> None:
    tensors = {"crops": crops(5)}
    expected = reference(models.classifier, tensors)
    with adapter(models.classifier) as engine:
        outputs = engine.infer(tensors)
    assert list(outputs) == ["class_logits", "polarity_logit"]
    for name, array in outputs.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-5)


def test_a_dynamic_batch_may_change_from_call_to_call(adapter: Opener, models: Models) -> None:
    many = crops(46)
    with adapter(models.classifier) as engine:
        whole = engine.infer({"crops": many})
        for first, last in ((0, 1), (1, 8), (8, 46), (0, 46), (3, 4)):
            part = engine.infer({"crops": many[first:last]})
            for name in whole:
                assert part[name].shape[0] == last - first
                np.testing.assert_allclose(part[name], whole[name][first:last], rtol=1e-4, atol=1e-5)


def test_results_belong_to_the_caller(adapter: Opener, models: Models) -> None:
    with adapter(models.classifier) as engine:
        kept = engine.infer({"crops": crops(3, seed=1)})["class_logits"]
        before = kept.copy()
        engine.infer({"crops": crops(3, seed=2)})
        np.testing.assert_array_equal(kept, before)
        kept[:] = 0.0
        np.testing.assert_array_equal(engine.infer({"crops": crops(3, seed=1)})["class_logits"], before)
    assert kept.flags.owndata or kept.base is not None
    kept[:] = 1.0  # still ours after close


def test_inputs_need_not_be_contiguous_and_are_not_changed(adapter: Opener, models: Models) -> None:
    array = crops(4)
    turned = np.ascontiguousarray(array.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
    before = turned.copy()
    assert not turned.flags.c_contiguous
    with adapter(models.classifier) as engine:
        expected = engine.infer({"crops": array})["class_logits"]
        np.testing.assert_array_equal(engine.infer({"crops": turned})["class_logits"], expected)
    np.testing.assert_array_equal(turned, before)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, r"expected inputs \['crops'\], got \[\]"),
        ({"image": crops(1)}, r"expected inputs \['crops'\], got \['image'\]"),
        ({"crops": crops(1), "more": crops(1)}, r"got \['crops', 'more'\]"),
        ({"crops": crops(1).astype(np.float64)}, "expected datatype FP32, got FP64"),
        ({"crops": crops(1).astype(">f4")}, "expected datatype FP32, got >f4"),
        ({"crops": crops(1)[0]}, r"expected shape \[≥1,1,32,24\], got \[1, 32, 24\]"),
        ({"crops": crops(1)[..., :23]}, r"expected shape \[≥1,1,32,24\], got \[1, 1, 32, 23\]"),
        ({"crops": crops(1)[:0]}, r"expected shape \[≥1,1,32,24\], got \[0, 1, 32, 24\]"),
        ({"crops": [[1.0]]}, "expected a numpy array, got list"),
    ],
    ids=["none", "name", "surplus", "datatype", "byte-order", "rank", "size", "empty-batch", "no-array"],
)
def test_tensors_that_do_not_fit_are_refused_with_expected_and_got(
    adapter: Opener, models: Models, tensors: dict[str, np.ndarray], message: str
) -> None:
    with adapter(models.classifier) as engine:
        with pytest.raises(EngineInputError, match=message):
            engine.infer(tensors)
        assert engine.infer({"crops": crops(1)})["class_logits"].shape == (1, 24)


def test_integers_and_floats_arrive_exactly(adapter: Opener, models: Models) -> None:
    a = np.arange(8, dtype=np.float32).reshape(2, 4) / 4
    b = np.arange(-4, 4, dtype=np.int64).reshape(2, 4)
    with adapter(models.arithmetic) as engine:
        np.testing.assert_array_equal(engine.infer({"b_int64": b, "a": a})["y"], 2 * a + b)


def test_nan_and_infinity_pass_through(adapter: Opener, models: Models) -> None:
    a = np.ones((2, 4), np.float32)
    a[0, 1], a[1, 2] = np.nan, np.inf
    with adapter(models.arithmetic) as engine:
        y = engine.infer({"a": a, "b_int64": np.zeros((2, 4), np.int64)})["y"]
    np.testing.assert_array_equal(np.isnan(y), np.isnan(a))
    np.testing.assert_array_equal(np.isposinf(y), np.isposinf(a))


@pytest.mark.parametrize("concurrency", [1, 3])
def test_eight_threads_get_the_answers_that_one_gets(
    adapter: Opener, models: Models, concurrency: int
) -> None:
    batches = [crops(1 + seed % 5, seed) for seed in range(4 * THREADS)]
    options = EngineOptions(threads=2, concurrency=concurrency)
    with adapter(models.quantized_classifier, options) as engine:
        alone = [engine.infer({"crops": batch})["class_logits"] for batch in batches]
        with ThreadPoolExecutor(THREADS) as pool:
            together = list(pool.map(lambda batch: engine.infer({"crops": batch})["class_logits"], batches))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


def test_close_is_idempotent_and_final(adapter: Opener, models: Models) -> None:
    engine = adapter(models.classifier)
    engine.infer({"crops": crops(1)})
    engine.close()
    engine.close()
    with pytest.raises(EngineClosedError):
        engine.infer({"crops": crops(1)})
    with pytest.raises(EngineClosedError):
        engine.warm_up()


def test_close_waits_for_calls_under_way(adapter: Opener, models: Models) -> None:
    engine = adapter(models.classifier, EngineOptions(threads=1))

    def call(seed: int) -> str:
        try:
            shape = engine.infer({"crops": crops(8, seed)})["class_logits"].shape
        except EngineClosedError:
            return "closed"
        assert shape == (8, 24)
        return "answered"

    with ThreadPoolExecutor(THREADS) as pool:
        calls = [pool.submit(call, seed) for seed in range(2 * THREADS)]
        calls[0].result()
        engine.close()
        answers = {one.result() for one in calls}
    assert answers <= {"answered", "closed"}
    assert "answered" in answers


def test_warm_up_fits_every_model(adapter: Opener, models: Models) -> None:
    for model in (models.classifier, models.segmenter, models.arithmetic, models.quantized_segmenter):
        with adapter(model) as engine:
            engine.warm_up()
            engine.warm_up(dynamic_size=9)


def test_the_fingerprint_is_stable_and_tells_models_and_options_apart(
    adapter: Opener, models: Models, tmp_path: Path
) -> None:
    copy = tmp_path / "another_name.onnx"
    copy.write_bytes(models.classifier.read_bytes())
    opened = {
        "first": adapter(models.classifier),
        "again": adapter(copy),
        "model": adapter(models.quantized_classifier),
        "options": adapter(models.classifier, EngineOptions(max_batch=48)),
    }
    prints = {name: engine.info.fingerprint for name, engine in opened.items()}
    for engine in opened.values():
        engine.close()
    assert prints["first"] == prints["again"]
    assert len(set(prints.values())) == 3
    assert all(len(digest) == 64 and set(digest) <= set("0123456789abcdef") for digest in prints.values())


def test_a_cached_engine_answers_as_the_compiled_one(
    adapter: Opener, models: Models, cache: CompileCache
) -> None:
    tensors = {"crops": crops(4)}
    with adapter(models.quantized_classifier, cache=cache) as engine:
        assert not engine.info.from_cache
        first, info = engine.infer(tensors), engine.info
    with adapter(models.quantized_classifier, cache=cache) as engine:
        assert engine.info.from_cache or cache.size_bytes() == 0  # ONNX Runtime keeps nothing
        assert engine.info.precision == info.precision
        assert engine.info.notes == info.notes
        for name, array in engine.infer(tensors).items():
            np.testing.assert_array_equal(array, first[name])


def test_a_torn_or_foreign_cache_entry_is_built_again(
    adapter: Opener, models: Models, tmp_path: Path
) -> None:
    cache = CompileCache(tmp_path / "cache")
    with adapter(models.classifier, cache=cache) as engine:
        expected, fingerprint = engine.infer({"crops": crops(2)}), engine.info.fingerprint
    entry = tmp_path / "cache" / f"{fingerprint}.engine"
    if not entry.exists():
        assert engine.info.kind.value == "onnxruntime"
        return
    whole = entry.read_bytes()
    damaged = (whole[: len(whole) // 2], b"", whole[:-1] + bytes([whole[-1] ^ 1]))
    for content in damaged:
        entry.write_bytes(content)
        with adapter(models.classifier, cache=cache) as engine:
            assert not engine.info.from_cache
            np.testing.assert_array_equal(
                engine.infer({"crops": crops(2)})["class_logits"], expected["class_logits"]
            )
    cache.put(fingerprint, b"no compiled engine", {})  # whole by its checksum, useless to the runtime
    with adapter(models.classifier, cache=cache) as engine:
        assert not engine.info.from_cache
    with adapter(models.classifier, cache=cache) as engine:
        assert engine.info.from_cache


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "truncated"])
def test_a_file_that_is_no_model_is_a_load_error(
    adapter: Opener, models: Models, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "model.onnx"
    whole = models.classifier.read_bytes()
    contents = {"empty": b"", "text": b"no model at all\n" * 20, "truncated": whole[: len(whole) // 2]}
    if damage != "missing":
        path.write_bytes(contents[damage])
    with pytest.raises(EngineLoadError, match=r"model\.onnx") as caught:
        adapter(path)
    assert str(path.parent) not in str(caught.value)
    assert isinstance(caught.value, EngineError)


def test_quantized_models_agree_with_their_own_arithmetic(adapter: Opener, models: Models) -> None:
    rng = np.random.default_rng(11)
    field = {"image": rng.normal(size=(1, 1, 64, 64)).astype(np.float32)}
    for model, tensors in (
        (models.quantized_classifier, {"crops": crops(6)}),
        (models.quantized_segmenter, field),
    ):
        expected = reference(model, tensors)
        with adapter(model) as engine:
            assert "INT8" in engine.info.precision.upper()
            integer = engine.info.precision == "INT8"
            for name, array in engine.infer(tensors).items():
                assert cosine(array, expected[name]) > (0.9999 if integer else 0.99)


def test_info_says_who_computes(adapter: Opener, models: Models) -> None:
    with adapter(models.classifier) as engine:
        info = engine.info
    assert info.precision == "FP32"
    assert info.device.startswith(("CPU: ", "GPU 0: "))
    assert info.runtime_version[0].isdigit()
