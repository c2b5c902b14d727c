"""The same image as pixels and as the tensor of the contract: every engine gives the same answer."""

from __future__ import annotations

import numpy as np
import pytest

from engines.cache import CompileCache
from engines.errors import EngineInputError, EngineLoadError
from engines.options import EngineOptions
from engines.pixels import PixelInput
from engines.tensor_spec import TensorSpec
from tests.conformance.conftest import Models, Opener

DIVISOR = 255.0
OPTIONS = EngineOptions(threads=2, pixels=PixelInput(DIVISOR))
TOLERANCE = 1e-5
"""Of the largest output: dividing and multiplying by the reciprocal may differ in the last bit."""


def pixels(batch: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (batch, 32, 48, 3), np.uint8)


def planes(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(DIVISOR)


@pytest.mark.parametrize("quantized", [False, True])
def test_pixels_give_the_answer_of_the_tensor(adapter: Opener, models: Models, quantized: bool) -> None:
    with adapter(models.quantized_film_reader if quantized else models.film_reader, OPTIONS) as engine:
        assert engine.pixel_inputs == (TensorSpec("images", "UINT8", (-1, 32, 48, 3)),)
        assert engine.inputs == (TensorSpec("images", "FP32", (-1, 3, 32, 48)),)
        engine.warm_up(2)
        for batch in (1, 4):
            image = pixels(batch)
            expected = engine.infer({"images": planes(image)})["found"]
            found = engine.infer({"images": image})["found"]
            np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())
            assert np.abs(found - engine.infer({"images": 255 - image})["found"]).max() > 0.01
    assert engine.info.fingerprint


def test_both_forms_come_out_of_the_cache(adapter: Opener, models: Models, cache: CompileCache) -> None:
    image = pixels(2)
    with adapter(models.quantized_film_reader, OPTIONS, cache) as engine:
        first = engine.infer({"images": image})["found"]
        held = cache.size_bytes()
    with adapter(models.quantized_film_reader, OPTIONS, cache) as engine:
        assert engine.info.from_cache or held == 0
        np.testing.assert_array_equal(engine.infer({"images": image})["found"], first)
    assert cache.size_bytes() == held


def test_pixels_of_another_shape_are_refused(adapter: Opener, models: Models) -> None:
    with adapter(models.film_reader, OPTIONS) as engine:
        for wrong in (pixels(1)[:, :31], pixels(1).transpose(0, 3, 1, 2), pixels(1)[0]):
            with pytest.raises(EngineInputError, match=r"expected shape \[≥1,32,48,3\]"):
                engine.infer({"images": wrong})
        with pytest.raises(EngineInputError, match="expected datatype FP32, got INT8"):
            engine.infer({"images": pixels(1).astype(np.int8)})


def test_an_engine_without_the_option_takes_no_pixels(adapter: Opener, models: Models) -> None:
    with adapter(models.film_reader) as engine:
        assert engine.pixel_inputs == ()
        with pytest.raises(EngineInputError, match="expected datatype FP32, got UINT8"):
            engine.infer({"images": pixels(1)})


def test_a_network_of_another_kind_cannot_take_pixels(adapter: Opener, models: Models) -> None:
    with pytest.raises(EngineLoadError, match=r"expected one FP32 input of shape \[N,3,H,W\]"):
        adapter(models.classifier, OPTIONS)


def test_a_divisor_is_above_nought() -> None:
    with pytest.raises(ValueError, match="expected a number above 0, got 0"):
        PixelInput(0)
