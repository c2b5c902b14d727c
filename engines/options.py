"""What a caller may choose about an engine; each choice changes what is compiled, so it is fingerprinted."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass

from engines.pixels import PixelInput


class QuantizedGraph(enum.Enum):
    """What to do with a file's QuantizeLinear/DequantizeLinear pairs."""

    BEST = "best"  # what was measured best on this runtime and device; EngineInfo.precision says what it was
    FLOAT = "float"  # drop the activation pairs and compute in float on the quantised weights
    AS_IS = "as_is"  # the file's own arithmetic; ONNX Runtime without any optimisation: the parity reference


@dataclass(frozen=True)
class EngineOptions:
    """Choices of the caller; the defaults are what a box runs with."""

    threads: int | None = None
    """CPU threads of one engine; None: every core that this process may use."""
    concurrency: int = 1
    """Calls that compute at the same time; more cost memory for their buffers, the others wait."""
    quantized_graph: QuantizedGraph = QuantizedGraph.BEST
    reduced_float: bool = False
    """Let the runtime compute float layers in BF16 or FP16 where the hardware has it. Off, so that an FP32
    layer gives the same bits on every machine with the same runtime."""
    max_batch: int = 96
    """Largest size of a dynamic batch; runtimes that plan memory ahead (TensorRT) refuse more."""
    typical_batch: int = 46
    """The batch that such a runtime tunes for (the chromosomes of one normal cell)."""
    pixels: PixelInput | None = None
    """Let the engine take its image as pixels too: UINT8, channels last. Scale and layout are then part of
    the compiled graph where the runtime can fold them in, and numpy's work elsewhere."""

    def __post_init__(self) -> None:
        for name in ("threads", "concurrency", "max_batch", "typical_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected 1 or more, got {value}")
        if self.typical_batch > self.max_batch:
            raise ValueError(
                f"typical_batch: expected at most max_batch {self.max_batch}, got {self.typical_batch}"
            )

    def identity(self) -> dict[str, object]:
        """The choices as plain values, for the fingerprint."""
        choices = {**asdict(self), "quantized_graph": self.quantized_graph.value}
        if self.pixels is None:
            del choices["pixels"]
        return choices
