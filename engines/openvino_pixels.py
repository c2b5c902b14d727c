"""Puts type, scale and layout of the image in front of an OpenVINO graph, so that it takes pixels itself."""

from __future__ import annotations

from typing import Any

from engines.pixels import PixelInput


def fold_pixels(model: Any, pixels: PixelInput) -> Any:
    """The model with UINT8, channels last, as its input.

    The plugin then reads a quarter of the bytes, and turns them into planes with all its threads.

    Args:
        model: with one input, channels first; it is changed.
        pixels: how the network's values come from levels.
    """
    import openvino
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    image = steps.input(0)
    image.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    image.model().set_layout(openvino.Layout("NCHW"))
    image.preprocess().convert_element_type(openvino.Type.f32).scale(pixels.divisor)
    return steps.build()
