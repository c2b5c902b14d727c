"""U-Net (Ronneberger et al., MICCAI 2015) over EfficientNet-B5 (Tan & Le, ICML 2019), one grey channel."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StageSpec(NamedTuple):
    """One row of EfficientNet's table, already scaled to B5 (width 1.6, depth 2.2)."""

    kernel: int
    stride: int
    expansion: int
    channels: int
    repeats: int


B5_STEM = 48
B5_STAGES = (
    StageSpec(3, 1, 1, 24, 3),
    StageSpec(3, 2, 6, 40, 5),
    StageSpec(5, 2, 6, 64, 5),
    StageSpec(3, 2, 6, 128, 7),
    StageSpec(5, 1, 6, 176, 7),
    StageSpec(5, 2, 6, 304, 9),
    StageSpec(3, 1, 6, 512, 3),
)
SKIPS = (0, 1, 2, 4)
"""Stages whose output the decoder uses, at strides 2, 4, 8 and 16; it starts at the last stage, at 32."""
DECODER = (256, 128, 64, 32, 16)


class Depthwise(nn.Conv2d):
    """Depthwise convolution that stays in FP32: its bfloat16 gradient is several times slower on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each channel with its own kernel."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias and its batch norm."""
    kind = nn.Conv2d if groups == 1 else Depthwise
    convolution = kind(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out")
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.1))


class SqueezeExcite(nn.Module):
    """Channel attention (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels by what the whole field shows."""
        pooled = torch.mean(x, dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.expand(F.silu(self.reduce(pooled))))


class MBConv(nn.Module):
    """Inverted residual with squeeze and excite."""

    def __init__(self, inputs: int, spec: StageSpec, stride: int) -> None:
        super().__init__()
        wide = inputs * spec.expansion
        layers: list[nn.Module] = []
        if spec.expansion != 1:
            layers += [conv_bn(inputs, wide, 1), nn.SiLU(inplace=True)]
        layers += [
            conv_bn(wide, wide, spec.kernel, stride, groups=wide),
            nn.SiLU(inplace=True),
            SqueezeExcite(wide, max(1, inputs // 4)),
            conv_bn(wide, spec.channels, 1),
        ]
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == spec.channels

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y: Tensor = self.body(x)
        return x + y if self.residual else y


class Up(nn.Module):
    """One decoder step: enlarge, join the skip, two convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(inputs + skip, outputs, 3),
            nn.ReLU(inplace=True),
            conv_bn(outputs, outputs, 3),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Double the resolution of `x`."""
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        result: Tensor = self.body(x if skip is None else torch.cat([x, skip], dim=1))
        return result


class Segmenter(nn.Module):
    """Semantic segmentation of a field: background, chromosome, nucleus or debris."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(1, B5_STEM, 3, 2), nn.SiLU(inplace=True))
        inputs, stages = B5_STEM, []
        for spec in B5_STAGES:
            blocks = []
            for index in range(spec.repeats):
                blocks.append(MBConv(inputs, spec, spec.stride if index == 0 else 1))
                inputs = spec.channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        skips = [*(B5_STAGES[i].channels for i in reversed(SKIPS)), 0]
        ups = []
        for skip, outputs in zip(skips, DECODER, strict=True):
            ups.append(Up(inputs, skip, outputs))
            inputs = outputs
        self.ups = nn.ModuleList(ups)
        self.logits = nn.Conv2d(inputs, classes, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) stain, sides multiples of 32 → (B, 3, H, W) logits."""
        x = self.stem(image)
        kept: list[Tensor] = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in SKIPS:
                kept.append(x)
        for up in self.ups:
            x = up(x, kept.pop() if kept else None)
        result: Tensor = self.logits(x)
        return result
