"""YOLO11n: the nano detector with the head layout that users' own exports have, 1×(4+classes)×anchors.

Written from the architecture's published description: cross-stage blocks with an optional inner stage,
pooling pyramid, one attention block, anchor-free head with distances as distributions over 16 bins (Li et
al., NeurIPS 2020) and depthwise class branches.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BINS = 16
STRIDES = (8, 16, 32)


class Conv(nn.Sequential):
    """Convolution, batch norm, SiLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03),
        ]
        if act:
            layers.append(nn.SiLU(inplace=True))
        super().__init__(*layers)


class Bottleneck(nn.Module):
    """Two 3×3 convolutions with a shortcut."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(Conv(channels, hidden, 3), Conv(hidden, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Apply and add."""
        y: Tensor = self.body(x)
        return x + y


class InnerStage(nn.Module):
    """Cross-stage block with two bottlenecks, used inside `Stage` where the network is deep."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.main = nn.Sequential(Conv(channels, half), Bottleneck(half, half), Bottleneck(half, half))
        self.bypass = Conv(channels, half)
        self.join = Conv(2 * half, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Run both ways and join."""
        result: Tensor = self.join(torch.cat([self.main(x), self.bypass(x)], dim=1))
        return result


class Stage(nn.Module):
    """Split the channels, refine one half, join all that was seen on the way."""

    def __init__(self, inputs: int, outputs: int, deep: bool, share: float = 0.5) -> None:
        super().__init__()
        self.hidden = int(outputs * share)
        self.split = Conv(inputs, 2 * self.hidden)
        self.inner: nn.Module = InnerStage(self.hidden) if deep else Bottleneck(self.hidden, self.hidden // 2)
        self.join = Conv(3 * self.hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        first, second = self.split(x).split(self.hidden, dim=1)
        result: Tensor = self.join(torch.cat([first, second, self.inner(second)], dim=1))
        return result


class PoolingPyramid(nn.Module):
    """Three max pools of 5×5 one after another, joined (SPPF)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = Conv(channels, channels // 2)
        self.join = Conv(channels * 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Add context of 5, 9 and 13 cells."""
        views = [self.reduce(x)]
        for _ in range(3):
            views.append(F.max_pool2d(views[-1], 5, 1, 2))
        result: Tensor = self.join(torch.cat(views, dim=1))
        return result


class Attention(nn.Module):
    """Self-attention over cells with a depthwise position term."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.value_width = heads, channels // heads
        self.key_width = self.value_width // 2
        self.project = Conv(channels, heads * (2 * self.key_width + self.value_width), act=False)
        self.position = Conv(channels, channels, 3, groups=channels, act=False)
        self.output = Conv(channels, channels, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        batch, channels, height, width = x.shape
        mixed = self.project(x).reshape(batch, self.heads, -1, height * width)
        query, key, value = mixed.split([self.key_width, self.key_width, self.value_width], dim=2)
        weights = torch.softmax(query.transpose(2, 3) @ key * self.key_width**-0.5, dim=-1)
        seen = (value @ weights.transpose(2, 3)).reshape(batch, channels, height, width)
        result: Tensor = self.output(seen + self.position(value.reshape(batch, channels, height, width)))
        return result


class AttentionStage(nn.Module):
    """Half of the channels pass through one attention block (C2PSA)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.split = Conv(channels, channels)
        self.attention = Attention(half, max(1, half // 64))
        self.mix = nn.Sequential(Conv(half, channels), Conv(channels, half, act=False))
        self.join = Conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        first, second = self.split(x).chunk(2, dim=1)
        second = second + self.attention(second)
        second = second + self.mix(second)
        result: Tensor = self.join(torch.cat([first, second], dim=1))
        return result


class HeadOutput(NamedTuple):
    """The head's raw output over all cells of all levels."""

    distances: Tensor  # (B, 4·BINS, A) logits of left, top, right, bottom in cells
    classes: Tensor  # (B, classes, A) logits
    centres: Tensor  # (A, 2) in input pixels
    strides: Tensor  # (A,)


class Yolo11n(nn.Module):
    """Backbone, neck and head; `forward` gives raw logits, `Yolo11Export` the served layout."""

    def __init__(self, classes: int = 14) -> None:
        super().__init__()
        self.to_stride8 = nn.Sequential(
            Conv(3, 16, 3, 2),
            Conv(16, 32, 3, 2),
            Stage(32, 64, False, 0.25),
            Conv(64, 64, 3, 2),
            Stage(64, 128, False, 0.25),
        )
        self.to_stride16 = nn.Sequential(Conv(128, 128, 3, 2), Stage(128, 128, True))
        self.to_stride32 = nn.Sequential(
            Conv(128, 256, 3, 2), Stage(256, 256, True), PoolingPyramid(256), AttentionStage(256)
        )
        self.down16 = Stage(256 + 128, 128, False)
        self.down8 = Stage(128 + 128, 64, False)
        self.up16_conv, self.up16 = Conv(64, 64, 3, 2), Stage(64 + 128, 128, False)
        self.up32_conv, self.up32 = Conv(128, 128, 3, 2), Stage(128 + 256, 256, True)
        widths, hidden = (64, 128, 256), 64
        self.distance_heads = nn.ModuleList(
            nn.Sequential(Conv(w, 64, 3), Conv(64, 64, 3), nn.Conv2d(64, 4 * BINS, 1)) for w in widths
        )
        self.class_heads = nn.ModuleList(
            nn.Sequential(
                Conv(w, w, 3, groups=w),
                Conv(w, hidden),
                Conv(hidden, hidden, 3, groups=hidden),
                Conv(hidden, hidden),
                nn.Conv2d(hidden, classes, 1),
            )
            for w in widths
        )  # fmt: skip
        for head, stride in zip(self.class_heads, STRIDES, strict=True):
            # A prior of about five objects an image keeps the first steps stable.
            nn.init.constant_(head[-1].bias, math.log(5 / classes / (640 / stride) ** 2))
        for head in self.distance_heads:
            nn.init.constant_(head[-1].bias, 1.0)

    def forward(self, images: Tensor) -> HeadOutput:
        """(B, 3, H, W) in 0..1, sides multiples of 32 → logits at every cell."""
        at8 = self.to_stride8(images)
        at16 = self.to_stride16(at8)
        at32 = self.to_stride32(at16)
        mid16 = self.down16(torch.cat([F.interpolate(at32, scale_factor=2.0, mode="nearest"), at16], dim=1))
        out8 = self.down8(torch.cat([F.interpolate(mid16, scale_factor=2.0, mode="nearest"), at8], dim=1))
        out16 = self.up16(torch.cat([self.up16_conv(out8), mid16], dim=1))
        out32 = self.up32(torch.cat([self.up32_conv(out16), at32], dim=1))
        distances, classes, centres, strides = [], [], [], []
        for level, stride, to_distance, to_class in zip(
            (out8, out16, out32), STRIDES, self.distance_heads, self.class_heads, strict=True
        ):
            height, width = int(level.shape[2]), int(level.shape[3])
            distances.append(to_distance(level).flatten(2))
            classes.append(to_class(level).flatten(2))
            ys = (torch.arange(height, dtype=torch.float32, device=level.device) + 0.5) * stride
            xs = (torch.arange(width, dtype=torch.float32, device=level.device) + 0.5) * stride
            grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], dim=-1)
            centres.append(grid.reshape(-1, 2))
            strides.append(torch.full((height * width,), float(stride), device=level.device))
        return HeadOutput(
            torch.cat(distances, 2), torch.cat(classes, 2), torch.cat(centres), torch.cat(strides)
        )


def expected_distances(logits: Tensor) -> Tensor:
    """Distribution logits (B, 4·BINS, A) → expected left, top, right, bottom in cells (B, 4, A)."""
    batch, _, cells = logits.shape
    bins = torch.arange(BINS, dtype=logits.dtype, device=logits.device)
    return (logits.reshape(batch, 4, BINS, cells).softmax(2) * bins[None, None, :, None]).sum(2)


def corner_boxes(output: HeadOutput) -> Tensor:
    """Boxes (B, A, 4) as x0, y0, x1, y1 in input pixels."""
    reach = expected_distances(output.distances.float()) * output.strides
    low = output.centres.T[None] - reach[:, :2]
    high = output.centres.T[None] + reach[:, 2:]
    return torch.cat([low, high], dim=1).transpose(1, 2)


class Yolo11Export(nn.Module):
    """The served layout: (1, 3, S, S) → (1, 4 + classes, cells), centre, size and class probabilities."""

    def __init__(self, network: Yolo11n) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Boxes as centre x, centre y, width, height in input pixels, then sigmoid class scores."""
        output = self.network(images)
        reach = expected_distances(output.distances) * output.strides
        low, high = output.centres.T[None] - reach[:, :2], output.centres.T[None] + reach[:, 2:]
        return torch.cat([(low + high) / 2.0, high - low, torch.sigmoid(output.classes)], dim=1)
