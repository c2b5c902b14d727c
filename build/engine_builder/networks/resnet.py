"""ResNet-18 and ResNet-50 (He et al., CVPR 2016; stride in the 3×3 convolution, v1.5), one grey channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias and its batch norm."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """A residual block: basic (two 3×3) or bottleneck (1×1, 3×3, 1×1 with four times the width)."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        outputs = width * 4 if bottleneck else width
        if bottleneck:
            self.body = nn.Sequential(
                conv_bn(inputs, width, 1),
                nn.ReLU(inplace=True),
                conv_bn(width, width, 3, stride),
                nn.ReLU(inplace=True),
                conv_bn(width, outputs, 1),
            )
        else:
            self.body = nn.Sequential(
                conv_bn(inputs, width, 3, stride), nn.ReLU(inplace=True), conv_bn(width, outputs, 3)
            )
        same = stride == 1 and inputs == outputs
        self.shortcut: nn.Module = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Add the shortcut and rectify."""
        result: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return result


class ResNet(nn.Module):
    """Backbone that returns its four stages, at strides 4, 8, 16 and 32."""

    def __init__(self, depths: tuple[int, int, int, int], bottleneck: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(1, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
        stages, inputs = [], 64
        for index, depth in enumerate(depths):
            width = 64 * 2**index
            blocks = []
            for block in range(depth):
                stride = 2 if index and block == 0 else 1
                blocks.append(Residual(inputs, width, stride, bottleneck))
                inputs = width * 4 if bottleneck else width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.widths = tuple(64 * 2**index * (4 if bottleneck else 1) for index in range(4))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 1, H, W) → stages of (N, C, H/4…H/32, W/4…W/32)."""
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def resnet18() -> ResNet:
    """ResNet-18 backbone."""
    return ResNet((2, 2, 2, 2), bottleneck=False)


def resnet50() -> ResNet:
    """ResNet-50 backbone."""
    return ResNet((3, 4, 6, 3), bottleneck=True)


class ChromosomeClassifier(nn.Module):
    """ResNet-18 with two heads: the chromosome's class and which arm points up."""

    def __init__(self, classes: int = 24, dropout: float = 0.2) -> None:
        super().__init__()
        self.backbone = resnet18()
        self.dropout = nn.Dropout(dropout)
        self.classes = nn.Linear(self.backbone.widths[-1], classes)
        self.polarity = nn.Linear(self.backbone.widths[-1], 1)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, 128, 96) stain → (N, 24) class logits and (N, 1) logit that the p arm points up."""
        pooled = torch.mean(self.backbone(crops)[-1], dim=(2, 3))
        features = self.dropout(pooled)
        return self.classes(features), self.polarity(features)
