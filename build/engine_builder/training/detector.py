"""Train Mask R-CNN on half-scale fields: true boxes, pseudo-masks, random crops, turns, scale, contrast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from engine_builder.networks import boxes as bx
from engine_builder.networks.mask_rcnn import (
    HEAD_WEIGHTS,
    MASK_BINS,
    RPN_WEIGHTS,
    STRIDES,
    DetectorExport,
    MaskRcnn,
)
from engine_builder.reference.evaluation import detector_scores, torch_infer
from engine_builder.training.loop import Budget, Losses, Trainer
from engine_builder.training.phantom_spreads import PHANTOMS, cached_phantoms
from engine_builder.training.spreads import STAIN_UNITS, Field, cached_fields

CROP = 320
RPN_SAMPLES = 256
ROI_SAMPLES = 96
ROI_POSITIVES = 32
_LEAST_VISIBLE = 0.6


@dataclass(frozen=True)
class DetectorSample:
    """One training crop."""

    image: NDArray[np.float32]  # (S, S) stain
    instances: NDArray[np.uint8]  # (S, S)
    boxes: NDArray[np.float32]  # (N, 4) x0, y0, x1, y1
    ids: NDArray[np.int64]  # (N,), the boxes' values in `instances`


class FieldAugmenter:
    """Random window, scale, quarter turn, flip, contrast, blur and noise on a field."""

    def __init__(
        self, seed: int, size: int = CROP, scales: tuple[float, float] = (0.78, 1.28), anywhere: float = 0.0
    ) -> None:
        self.rng, self.size, self.scales, self.anywhere = np.random.default_rng(seed), size, scales, anywhere

    def __call__(self, field: Field) -> DetectorSample:
        """Draw one crop from a field."""
        rng, size = self.rng, self.size
        scale = float(np.exp(rng.uniform(*np.log(self.scales))))
        height, width = (max(32, round(side * scale)) for side in field.stain.shape)
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        stain = cv2.resize(field.stain, (width, height), interpolation=how).astype(np.float32) / STAIN_UNITS
        instances = cv2.resize(field.instances, (width, height), interpolation=cv2.INTER_NEAREST)
        left, top = self._corner(field, scale, width, height)
        image = np.zeros((size, size), np.float32)
        ids = np.zeros((size, size), np.uint8)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + size, width), min(top + size, height)
        target = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        image[target], ids[target] = stain[y0:y1, x0:x1], instances[y0:y1, x0:x1]
        boxes = field.boxes * scale
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1) - [left, top, left, top]
        inside = corners.clip(0, size)
        area = np.prod(boxes[:, 2:], axis=1)
        visible = np.prod(inside[:, 2:] - inside[:, :2], axis=1) / area
        chosen = np.flatnonzero(visible > _LEAST_VISIBLE)
        return self._turn(self._contrast(image), ids, inside[chosen].astype(np.float32), chosen + 1)

    def _corner(self, field: Field, scale: float, width: int, height: int) -> tuple[int, int]:
        """Upper left corner of the window, around a random chromosome where the field is larger."""
        x, y, w, h = field.boxes[self.rng.integers(len(field.boxes))] * scale
        left = int(x + w / 2 - self.rng.uniform(0.2, 0.8) * self.size)
        top = int(y + h / 2 - self.rng.uniform(0.2, 0.8) * self.size)
        if self.rng.random() < self.anywhere:
            left, top = (int(self.rng.integers(0, max(side - self.size, 1))) for side in (width, height))
        if width <= self.size:
            left = int(self.rng.integers(width - self.size, 1))
        else:
            left = min(max(left, 0), width - self.size)
        if height <= self.size:
            top = int(self.rng.integers(height - self.size, 1))
        else:
            top = min(max(top, 0), height - self.size)
        return left, top

    def _contrast(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        rng = self.rng
        if rng.random() < 0.3:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.1))), np.float32)
        seen = np.power(np.clip(image, 0, 1.3), np.exp(rng.normal(0, 0.2))) * np.exp(rng.normal(0, 0.15))
        seen = seen + rng.normal(0, rng.uniform(0, 0.03), image.shape)
        if rng.random() < 0.3:
            slope = np.linspace(0, rng.uniform(-0.08, 0.08), self.size)
            seen = seen + (slope[None] if rng.random() < 0.5 else slope[:, None])
        return np.asarray(seen, dtype=np.float32)

    def _turn(
        self,
        image: NDArray[np.float32],
        ids: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        chosen: NDArray[np.int64],
    ) -> DetectorSample:
        size = self.size
        for _ in range(int(self.rng.integers(4))):
            image, ids = np.rot90(image), np.rot90(ids)
            x0, y0, x1, y1 = boxes.T
            boxes = np.stack([y0, size - x1, y1, size - x0], axis=1)
        if self.rng.random() < 0.5:
            image, ids = image[:, ::-1], ids[:, ::-1]
            x0, y0, x1, y1 = boxes.T
            boxes = np.stack([size - x1, y0, size - x0, y1], axis=1)
        return DetectorSample(np.ascontiguousarray(image), np.ascontiguousarray(ids), boxes, chosen)


def _sample(positive: Tensor, negative: Tensor, total: int, most_positive: int) -> tuple[Tensor, Tensor]:
    """Random indices of positives and negatives in the wanted shares."""
    chosen = positive[torch.randperm(len(positive))[:most_positive]]
    rest = negative[torch.randperm(len(negative))[: total - len(chosen)]]
    return chosen, rest


def proposal_losses(
    network_out: Tensor, deltas: Tensor, anchors: Tensor, truth: list[Tensor], size: int
) -> Losses:
    """Objectness and box losses of the region proposal network over a batch.

    Args:
        network_out: (B, A) logits.
        deltas: (B, A, 4).
        anchors: (A, 4).
        truth: per image (N, 4) boxes.
        size: side of the crop in pixels.
    """
    centre = (anchors[:, :2] + anchors[:, 2:]) / 2
    usable = ((centre > 0) & (centre < size)).all(1)
    objectness, regression, count = network_out.new_zeros(()), network_out.new_zeros(()), 0
    for logits, moves, boxes in zip(network_out, deltas, truth, strict=True):
        iou = bx.overlaps(anchors, boxes)
        best, match = iou.max(1)
        positive = best >= 0.6
        top = iou.max(0).values
        positive |= ((iou >= top[None] - 1e-4) & (iou > 0.3)).any(1)
        negative = (best < 0.3) & usable & ~positive
        chosen, rest = _sample(
            positive.nonzero()[:, 0], negative.nonzero()[:, 0], RPN_SAMPLES, RPN_SAMPLES // 2
        )
        picked = torch.cat([chosen, rest])
        target = torch.cat([torch.ones(len(chosen)), torch.zeros(len(rest))]).to(logits.device)
        objectness = objectness + F.binary_cross_entropy_with_logits(logits[picked], target)
        wanted = bx.encode(boxes[match[chosen]], anchors[chosen], RPN_WEIGHTS)
        regression = (
            regression + F.smooth_l1_loss(moves[chosen], wanted, beta=0.11, reduction="sum") / RPN_SAMPLES
        )
        count += 1
    return {"rpn": objectness / count, "rpn_box": 2.0 * regression / count}


class DetectorTask:
    """Data, losses and evaluation of the detector."""

    def __init__(self, data: Path, cache: Path, batch: int, seed: int = 1) -> None:
        self.fields = cached_fields(data / "metaphases", "train", cache) + cached_phantoms(PHANTOMS, cache)[0]
        self.val = cached_fields(data / "metaphases", "val", cache)
        self.batch, self.rng, self.augment = batch, np.random.default_rng(seed), FieldAugmenter(seed)

    def draw(self) -> list[DetectorSample]:
        """One batch."""
        picks = self.rng.integers(0, len(self.fields), self.batch)
        return [self.augment(self.fields[i]) for i in picks]

    def losses(self, network: nn.Module, step: int) -> Losses:
        """All losses of Mask R-CNN and the auxiliary stain loss."""
        del step
        assert isinstance(network, MaskRcnn)
        samples = [sample for sample in self.draw() if len(sample.boxes)]
        device = next(network.parameters()).device
        image = torch.from_numpy(np.stack([s.image for s in samples]))[:, None].to(device)
        image = image.contiguous(memory_format=torch.channels_last)
        instances = torch.from_numpy(np.stack([s.instances for s in samples])).float()[:, None].to(device)
        truth = [torch.from_numpy(s.boxes).to(device) for s in samples]
        ids = [torch.from_numpy(s.ids).float().to(device) for s in samples]
        size = image.shape[-1]
        with torch.autocast(device.type, torch.bfloat16):
            levels = network.features(image)
            proposals = network.propose(levels)
        losses = dict(proposal_losses(proposals.logits, proposals.deltas, proposals.anchors, truth, size))
        stained = F.max_pool2d((instances > 0).float(), STRIDES[0])
        losses["stain"] = 0.5 * F.binary_cross_entropy_with_logits(
            network.stain_logits(levels[0].float()), stained
        )
        with torch.no_grad():
            regions = network.select(proposals, size, size, keep=200)
        losses.update(self._region_losses(network, levels[0], regions, truth, instances, ids))
        return losses

    def _region_losses(
        self,
        network: MaskRcnn,
        level: Tensor,
        regions: Tensor,
        truth: list[Tensor],
        instances: Tensor,
        ids: list[Tensor],
    ) -> dict[str, Tensor]:
        chosen, targets, labels, matched = [], [], [], []
        for candidates, boxes, numbers in zip(regions, truth, ids, strict=True):
            candidates = torch.cat([candidates, _jitter(boxes)])
            best, match = bx.overlaps(candidates, boxes).max(1)
            large = (candidates[:, 2:] - candidates[:, :2]).min(1).values > 2
            positive = ((best >= 0.5) & large).nonzero()[:, 0]
            negative = ((best < 0.5) & large).nonzero()[:, 0]
            first, rest = _sample(positive, negative, ROI_SAMPLES, ROI_POSITIVES)
            # Fixed counts keep the batch rectangular: repeat where an image has too few.
            first = first[torch.arange(ROI_POSITIVES) % max(len(first), 1)]
            rest = rest[torch.arange(ROI_SAMPLES - ROI_POSITIVES) % max(len(rest), 1)]
            picked = torch.cat([first, rest])
            chosen.append(candidates[picked])
            targets.append(boxes[match[picked]])
            matched.append(numbers[match[first]])
            labels.append((best[picked] >= 0.5).float())
        boxes_in = torch.stack(chosen)
        with torch.autocast(level.device.type, torch.bfloat16):
            logits, deltas = network.box_predictions(level, boxes_in)
            mask_logits = network.mask_predictions(level, boxes_in[:, :ROI_POSITIVES])
        label = torch.cat(labels)
        wanted = bx.encode(torch.cat(targets), boxes_in.flatten(0, 1), HEAD_WEIGHTS)
        positive = label > 0.5
        regression = F.smooth_l1_loss(deltas[positive], wanted[positive], beta=1.0, reduction="sum") / len(
            label
        )
        mask_target = _mask_targets(instances, boxes_in[:, :ROI_POSITIVES], torch.stack(matched))
        return {
            "class": F.binary_cross_entropy_with_logits(logits, label),
            "box": 2.0 * regression,
            "mask": F.binary_cross_entropy_with_logits(mask_logits, mask_target),
        }

    def evaluate(self, network: nn.Module) -> Mapping[str, float]:
        """Box AP50, recall, precision and exact counts on every twentieth val field."""
        assert isinstance(network, MaskRcnn)
        infer = torch_infer(DetectorExport(network).eval(), ["image"], ["boxes", "scores", "masks"])
        return {name: measured.value for name, measured in detector_scores(infer, self.val[::20]).items()}


def _jitter(boxes: Tensor) -> Tensor:
    """True boxes, moved a little, so that the heads see good regions from the first step."""
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    return boxes + size * 0.06 * torch.randn_like(boxes)


def _mask_targets(instances: Tensor, regions: Tensor, numbers: Tensor) -> Tensor:
    """Instance masks sampled on each region's 28×28 grid: (B·N, 28, 28)."""
    bins = MASK_BINS * 2
    batch, count = regions.shape[:2]
    steps = (torch.arange(bins, device=regions.device) + 0.5) / bins
    low, size = regions[..., :2], regions[..., 2:] - regions[..., :2]
    xs = (low[..., 0:1] + steps * size[..., 0:1]).long().clamp(0, instances.shape[-1] - 1)
    ys = (low[..., 1:2] + steps * size[..., 1:2]).long().clamp(0, instances.shape[-2] - 1)
    rows = torch.arange(batch, device=regions.device)[:, None, None, None]
    values = instances[:, 0][rows, ys[:, :, :, None], xs[:, :, None, :]]
    return (values == numbers[:, :, None, None]).float().reshape(batch * count, bins, bins)


def train(data: Path, cache: Path, checkpoints: Path, steps: int, batch: int) -> Path:
    """Train or resume; returns the checkpoint."""
    task = DetectorTask(data, cache, batch)
    trainer = Trainer("detector", MaskRcnn(), Budget(steps, 6e-4, warm_up_steps=60), checkpoints)
    trainer.resume()
    trainer.run(task.losses, task.evaluate, evaluate_every=250)
    return trainer.checkpoint
