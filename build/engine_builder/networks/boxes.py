"""Box arithmetic with static shapes: anchors, deltas, overlaps, suppression and sampling by a grid.

Everything here traces to plain ONNX operators of fixed shape, the form that TensorRT compiles best.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LIMIT = 4.0
"""Largest log-scale change of a box's side, so that exp cannot overflow."""


def anchors(height: int, width: int, stride: int, size: float, ratios: tuple[float, ...]) -> Tensor:
    """Anchor boxes (height·width·len(ratios), 4) as x0, y0, x1, y1; cell by cell, ratios innermost."""
    ys = (torch.arange(height, dtype=torch.float32) + 0.5) * stride
    xs = (torch.arange(width, dtype=torch.float32) + 0.5) * stride
    centre = torch.stack(torch.meshgrid(ys, xs, indexing="ij"), dim=-1)[:, :, None, :]
    ratio = torch.tensor(ratios, dtype=torch.float32)
    half = torch.stack([size * ratio.sqrt(), size / ratio.sqrt()], dim=-1)[None, None] / 2.0
    low, high = centre - half, centre + half
    return torch.cat([low.flip(-1), high.flip(-1)], dim=-1).reshape(-1, 4)


def encode(boxes: Tensor, references: Tensor, weights: tuple[float, float]) -> Tensor:
    """Deltas (…, 4) that move `references` onto `boxes` (Girshick et al., CVPR 2014)."""
    size, reference_size = boxes[..., 2:] - boxes[..., :2], references[..., 2:] - references[..., :2]
    shift = (
        (boxes[..., :2] + boxes[..., 2:] - references[..., :2] - references[..., 2:]) / 2.0 / reference_size
    )
    return torch.cat([shift * weights[0], torch.log(size / reference_size) * weights[1]], dim=-1)


def decode(deltas: Tensor, references: Tensor, weights: tuple[float, float]) -> Tensor:
    """Inverse of `encode`."""
    reference_size = references[..., 2:] - references[..., :2]
    centre = (references[..., :2] + references[..., 2:]) / 2.0 + deltas[..., :2] / weights[0] * reference_size
    half = torch.exp((deltas[..., 2:] / weights[1]).clamp(-_LIMIT, _LIMIT)) * reference_size / 2.0
    return torch.cat([centre - half, centre + half], dim=-1)


def clip(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes inside of an image of that size."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    return torch.stack(
        [x0.clamp(0, width), y0.clamp(0, height), x1.clamp(0, width), y1.clamp(0, height)], dim=-1
    )


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union: (…, N, 4) and (…, M, 4) → (…, N, M)."""
    a, b = first[..., :, None, :], second[..., None, :, :]
    shared = (
        (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    )
    area_a = (a[..., 2:] - a[..., :2]).clamp(min=0).prod(-1)
    area_b = (b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1)
    return shared / (area_a + area_b - shared).clamp(min=1e-6)


def survivors(boxes: Tensor, threshold: float, rounds: int = 6) -> Tensor:
    """Greedy non-maximum suppression as a fixed number of matrix products.

    A box falls if a box of higher score that still stands overlaps it. Starting from "all stand", every round
    settles one more link of each chain of suppressions, so `rounds` links are exact.

    Args:
        boxes: (B, N, 4), sorted by falling score.
        threshold: intersection over union above which the lower box falls.
        rounds: longest chain that is settled.

    Returns:
        (B, N) float, 1 where the box stands.
    """
    count = boxes.shape[1]
    order = torch.arange(count, device=boxes.device)
    before = (order[:, None] < order[None, :]).to(boxes.dtype)
    over = (overlaps(boxes, boxes) > threshold).to(boxes.dtype) * before
    standing = torch.ones_like(boxes[..., 0])
    for _ in range(rounds):
        fallen = torch.matmul(standing[:, None, :], over)[:, 0]
        standing = (fallen < 0.5).to(boxes.dtype)
    return standing


def sample_regions(features: Tensor, boxes: Tensor, bins: int, stride: int) -> Tensor:
    """RoIAlign (He et al., ICCV 2017) with one bilinear sample at each bin's centre, by one grid sample.

    Args:
        features: (B, C, H, W).
        boxes: (B, N, 4) in pixels of the network's input.
        bins: side of the square of bins.
        stride: input pixels per feature cell.

    Returns:
        (B·N, C, bins, bins).
    """
    batch, channels, height, width = features.shape
    count = boxes.shape[1]
    steps = (torch.arange(bins, device=boxes.device, dtype=boxes.dtype) + 0.5) / bins
    low, size = boxes[..., :2], boxes[..., 2:] - boxes[..., :2]
    xs = (low[..., 0:1] + steps * size[..., 0:1]) * (2.0 / (width * stride)) - 1.0
    ys = (low[..., 1:2] + steps * size[..., 1:2]) * (2.0 / (height * stride)) - 1.0
    grid_x = xs[:, :, None, :].expand(batch, count, bins, bins)
    grid_y = ys[:, :, :, None].expand(batch, count, bins, bins)
    grid = torch.stack([grid_x, grid_y], dim=-1).reshape(batch, count * bins, bins, 2)
    sampled = F.grid_sample(features, grid, mode="bilinear", padding_mode="border", align_corners=False)
    regions = sampled.reshape(batch, channels, count, bins, bins).transpose(1, 2)
    return regions.reshape(batch * count, channels, bins, bins)
