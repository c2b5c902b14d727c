"""Mask R-CNN, ResNet-50, feature pyramid (He et al., ICCV 2017; Lin et al., CVPR 2017), one object class.

Narrower than the paper where chromosomes allow it, see docs/adr: 128 pyramid channels, box head of 512, mask
convolutions of 128. Chromosomes span 11 to 110 pixels here, so that regions are sampled from the pyramid's
finest level only. All shapes are static.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine_builder.networks import boxes as bx
from engine_builder.networks.resnet import resnet50

STRIDES = (4, 8, 16, 32)
SIZES = (16.0, 32.0, 64.0, 112.0)
RATIOS = (0.5, 1.0, 2.0)
RPN_WEIGHTS = (1.0, 1.0)
HEAD_WEIGHTS = (10.0, 5.0)
MASK_BINS = 14
BOX_BINS = 7


class Proposals(NamedTuple):
    """What the region proposal network says, all anchors of all levels in one row."""

    logits: Tensor  # (B, A)
    deltas: Tensor  # (B, A, 4)
    anchors: Tensor  # (A, 4)
    level_sizes: tuple[int, ...]


class Pyramid(nn.Module):
    """Feature pyramid over four stages."""

    def __init__(self, widths: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.output = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in widths)

    def forward(self, stages: list[Tensor]) -> list[Tensor]:
        """Stages at strides 4…32 → the same with `channels` channels and context from above."""
        merged: Tensor | None = None
        levels = []
        for index in reversed(range(len(stages))):
            level = self.lateral[index](stages[index])
            if merged is not None:
                level = level + F.interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = level
            levels.append(self.output[index](level))
        return levels[::-1]


class MaskRcnn(nn.Module):
    """Detector of chromosomes: boxes, scores and 28×28 masks."""

    def __init__(self, channels: int = 128, head: int = 512, mask_channels: int = 128) -> None:
        super().__init__()
        self.backbone = resnet50()
        self.pyramid = Pyramid(self.backbone.widths, channels)
        self.rpn = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True))
        self.rpn_logits = nn.Conv2d(channels, len(RATIOS), 1)
        self.rpn_deltas = nn.Conv2d(channels, len(RATIOS) * 4, 1)
        self.box_head = nn.Sequential(
            nn.Linear(channels * BOX_BINS**2, head),
            nn.ReLU(inplace=True),
            nn.Linear(head, head),
            nn.ReLU(inplace=True),
        )
        self.box_logits = nn.Linear(head, 1)
        self.box_deltas = nn.Linear(head, 4)
        layers: list[nn.Module] = []
        inputs = channels
        for _ in range(4):
            layers += [nn.Conv2d(inputs, mask_channels, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = mask_channels
        self.mask_head = nn.Sequential(
            *layers, nn.ConvTranspose2d(mask_channels, mask_channels, 2, 2), nn.ReLU(inplace=True)
        )
        self.mask_logits = nn.Conv2d(mask_channels, 1, 1)
        self.stain_logits = nn.Conv2d(channels, 1, 1)
        """Only for training: chromosome or not at the finest level, which speeds up learning from scratch."""
        nn.init.constant_(self.rpn_logits.bias, -3.0)
        nn.init.constant_(self.box_logits.bias, -1.0)
        for layer in (self.rpn_deltas, self.box_deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def features(self, image: Tensor) -> list[Tensor]:
        """(B, 1, H, W) stain → pyramid levels."""
        levels: list[Tensor] = self.pyramid(self.backbone(image))
        return levels

    def propose(self, levels: list[Tensor]) -> Proposals:
        """Score and move the anchors of every level."""
        logits, deltas, boxes = [], [], []
        for level, stride, size in zip(levels, STRIDES, SIZES, strict=True):
            hidden = self.rpn(level)
            batch, _, height, width = level.shape
            logits.append(self.rpn_logits(hidden).permute(0, 2, 3, 1).reshape(batch, -1))
            deltas.append(self.rpn_deltas(hidden).permute(0, 2, 3, 1).reshape(batch, -1, 4))
            boxes.append(bx.anchors(int(height), int(width), stride, size, RATIOS).to(level.device))
        sizes = tuple(int(box.shape[0]) for box in boxes)
        return Proposals(torch.cat(logits, 1).float(), torch.cat(deltas, 1).float(), torch.cat(boxes), sizes)

    @staticmethod
    def select(proposals: Proposals, height: int, width: int, keep: int, per_level: int = 300) -> Tensor:
        """The best `keep` proposals (B, keep, 4): the best of each level without repetitions."""
        batch = proposals.logits.shape[0]
        scores, boxes, start = [], [], 0
        for size in proposals.level_sizes:
            part = slice(start, start + size)
            best, index = proposals.logits[:, part].topk(min(per_level, size), dim=1)
            chosen = index[..., None].expand(-1, -1, 4)
            deltas = proposals.deltas[:, part].gather(1, chosen)
            reference = proposals.anchors[part].expand(batch, -1, 4).gather(1, chosen)
            scores.append(best)
            boxes.append(bx.clip(bx.decode(deltas, reference, RPN_WEIGHTS), height, width))
            start += size
        all_scores, all_boxes = torch.cat(scores, 1), torch.cat(boxes, 1)
        ordered, index = all_scores.topk(min(600, int(all_scores.shape[1])), dim=1)
        candidates = all_boxes.gather(1, index[..., None].expand(-1, -1, 4))
        ranked = ordered - 100.0 * (1.0 - bx.survivors(candidates, 0.75))
        _, best_index = ranked.topk(keep, dim=1)
        return candidates.gather(1, best_index[..., None].expand(-1, -1, 4))

    def box_predictions(self, level: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Regions (B, N, 4) → logits (B·N,) and deltas (B·N, 4)."""
        pooled = F.avg_pool2d(bx.sample_regions(level, regions, BOX_BINS * 2, STRIDES[0]), 2)
        hidden = self.box_head(pooled.flatten(1))
        return self.box_logits(hidden)[:, 0].float(), self.box_deltas(hidden).float()

    def mask_predictions(self, level: Tensor, regions: Tensor) -> Tensor:
        """Regions (B, N, 4) → logits (B·N, 28, 28)."""
        pooled = bx.sample_regions(level, regions, MASK_BINS, STRIDES[0])
        logits: Tensor = self.mask_logits(self.mask_head(pooled))[:, 0]
        return logits.float()


class DetectorExport(nn.Module):
    """The pack's form: image → fixed numbers of boxes, scores and masks, suppression inside."""

    def __init__(
        self, network: MaskRcnn, proposals: int = 256, objects: int = 128, threshold: float = 0.7
    ) -> None:
        super().__init__()
        self.network, self.proposals, self.objects, self.threshold = network, proposals, objects, threshold

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(1, 1, S, S) → boxes (1, objects, 4), scores (1, objects), masks (1, objects, 28, 28)."""
        size = int(image.shape[-1])
        levels = self.network.features(image)
        regions = self.network.select(self.network.propose(levels), size, size, self.proposals)
        logits, deltas = self.network.box_predictions(levels[0], regions)
        scores = torch.sigmoid(logits).reshape(1, self.proposals)
        boxes = bx.clip(bx.decode(deltas.reshape(1, self.proposals, 4), regions, HEAD_WEIGHTS), size, size)
        ordered, index = scores.topk(self.proposals, dim=1)
        candidates = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        standing = ordered * bx.survivors(candidates, self.threshold)
        final_scores, best = standing.topk(self.objects, dim=1)
        final_boxes = candidates.gather(1, best[..., None].expand(-1, -1, 4))
        masks = torch.sigmoid(self.network.mask_predictions(levels[0], final_boxes))
        return final_boxes, final_scores, masks.reshape(1, self.objects, MASK_BINS * 2, MASK_BINS * 2)
