"""Train YOLO11n on findings painted onto real and phantom films: it shows the machinery, not radiology.

No public set with VinDr-CXR's 14 findings can be fetched, so the truth here is painted. Films are split by
patient (the first number of the file name).
"""

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

from appliance.models.reference import FINDING_LABELS
from appliance.phantoms.chest_film import chest_phantom
from appliance.phantoms.chest_findings import PaintedFinding, paint_findings
from appliance.phantoms.thorax import locate_thorax
from engine_builder.networks import boxes as bx
from engine_builder.networks.yolo11 import BINS, HeadOutput, Yolo11Export, Yolo11n, corner_boxes
from engine_builder.reference.evaluation import film_scores, torch_infer
from engine_builder.training.loop import Budget, Losses, Trainer

SIZE = 448
TOP_CELLS = 10
POOL = 600
"""Painted films that are kept for reuse."""


@dataclass(frozen=True)
class FilmSample:
    """One painted film at training size."""

    image: NDArray[np.float32]  # (SIZE, SIZE) 0..1
    boxes: NDArray[np.float32]  # (N, 4) x0, y0, x1, y1
    labels: NDArray[np.int64]


def read_films(folder: Path) -> dict[str, list[NDArray[np.uint8]]]:
    """Upright films by patient, at 640²; one that lies on its side would be painted in the wrong places."""
    films: dict[str, list[NDArray[np.uint8]]] = {}
    for path in sorted(folder.glob("*.webp")):
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        small = cv2.resize(np.asarray(grey, np.uint8), (640, 640), interpolation=cv2.INTER_AREA)
        if not locate_thorax(np.asarray(small, np.uint8)).measured:
            continue
        films.setdefault(path.stem.split("_")[0], []).append(np.asarray(small, np.uint8))
    return films


def split_films(films: dict[str, list[NDArray[np.uint8]]]) -> dict[str, list[NDArray[np.uint8]]]:
    """Seven patients of ten train, one validates, two test."""
    split: dict[str, list[NDArray[np.uint8]]] = {"train": [], "val": [], "test": []}
    for position, patient in enumerate(sorted(films)):
        name = "val" if position % 10 == 7 else "test" if position % 10 > 7 else "train"
        split[name] += films[patient]
    return split


class FilmPainter:
    """Draws painted films for training or for evaluation."""

    def __init__(self, films: list[NDArray[np.uint8]], seed: int, size: int, augment: bool) -> None:
        self.films, self.rng, self.size, self.augment = films, np.random.default_rng(seed), size, augment
        self._pool: list[tuple[NDArray[np.uint8], tuple[PaintedFinding, ...]]] = []

    def _painted(self) -> tuple[NDArray[np.uint8], tuple[PaintedFinding, ...]]:
        """A freshly painted film, or one from the pool: painting costs more than a training step."""
        rng = self.rng
        if self._pool and self.augment and rng.random() > max(0.12, 1.0 - len(self._pool) / 60):
            return self._pool[int(rng.integers(len(self._pool)))]
        if rng.random() < 0.3:
            film = chest_phantom(rng, 640).image
        else:
            film = self.films[int(rng.integers(len(self.films)))]
        painted = paint_findings(film, rng)
        self._pool.append(painted)
        del self._pool[:-POOL]
        return painted

    def __call__(self) -> FilmSample:
        """One film with its findings, at another scale and contrast each time."""
        rng = self.rng
        painted, findings = self._painted()
        boxes = np.array(
            [[f.box.x, f.box.y, f.box.width, f.box.height] for f in findings], np.float32
        ).reshape(-1, 4)
        labels = np.array([FINDING_LABELS.index(f.label) for f in findings], np.int64)
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        scale, shift = self.size / 640.0, np.zeros(2)
        if self.augment:
            scale *= float(rng.uniform(0.8, 1.2))
            shift = rng.uniform(-0.06, 0.06, 2) * self.size + (self.size - 640 * scale) / 2
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        image = cv2.warpAffine(
            painted.astype(np.float32) / 255.0, matrix, (self.size, self.size), borderValue=114 / 255
        )
        if self.augment:
            image = np.power(np.clip(image, 0, 1), np.exp(rng.normal(0, 0.2)))
            image = np.clip(image * np.exp(rng.normal(0, 0.1)) + rng.normal(0, 0.01, image.shape), 0, 1)
        corners = (corners * scale + np.tile(shift, 2)).clip(0, self.size)
        kept = ((corners[:, 2:] - corners[:, :2]) > 3).all(1)
        return FilmSample(np.asarray(image, np.float32), corners[kept].astype(np.float32), labels[kept])


def assign(
    scores: Tensor, boxes: Tensor, centres: Tensor, truth: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Task-aligned assignment (Feng et al., ICCV 2021) for one image.

    Args:
        scores: (A, classes) probabilities.
        boxes: (A, 4) predicted corners.
        centres: (A, 2) cell centres in pixels.
        truth: (N, 4).
        labels: (N,).

    Returns:
        (A,) index of the assigned truth or -1, (A,) soft score target, (A,) bool mask.
    """
    low = (centres[:, None] - truth[None, :, :2]).amin(-1)
    high = (truth[None, :, 2:] - centres[:, None]).amin(-1)
    inside = (low > 0) & (high > 0)
    iou = bx.overlaps(boxes, truth)
    metric = scores[:, labels].clamp(min=1e-9).sqrt() * iou.pow(6) * inside
    count = min(TOP_CELLS, metric.shape[0])
    best = torch.zeros_like(metric, dtype=torch.bool)
    best.scatter_(0, metric.topk(count, dim=0).indices, True)
    candidate = best & inside & (metric > 1e-12)
    shared = torch.where(candidate, iou, torch.full_like(iou, -1.0))
    owner = shared.argmax(1)
    taken = candidate.any(1)
    own = torch.nn.functional.one_hot(owner, truth.shape[0]).bool() & candidate
    peak_metric = (metric * own).amax(0).clamp(min=1e-12)
    peak_iou = (iou * own).amax(0)
    target = (metric * own / peak_metric * peak_iou).amax(1)
    return torch.where(taken, owner, torch.full_like(owner, -1)), target, taken


def complete_iou(boxes: Tensor, truth: Tensor) -> Tensor:
    """Complete IoU (Zheng et al., AAAI 2020) of paired boxes (N, 4), in (-1, 1]."""
    shared = (
        (torch.minimum(boxes[:, 2:], truth[:, 2:]) - torch.maximum(boxes[:, :2], truth[:, :2]))
        .clamp(0)
        .prod(1)
    )
    size, truth_size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3), truth[:, 2:] - truth[:, :2]
    iou = shared / (size.prod(1) + truth_size.prod(1) - shared).clamp(min=1e-6)
    hull = torch.maximum(boxes[:, 2:], truth[:, 2:]) - torch.minimum(boxes[:, :2], truth[:, :2])
    distance = (boxes[:, :2] + boxes[:, 2:] - truth[:, :2] - truth[:, 2:]).pow(2).sum(1) / 4
    aspect = (
        4
        / torch.pi**2
        * (torch.atan(truth_size[:, 0] / truth_size[:, 1]) - torch.atan(size[:, 0] / size[:, 1])).pow(2)
    )
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect).clamp(min=1e-6)
    return iou - distance / hull.pow(2).sum(1).clamp(min=1e-6) - weight * aspect


def head_losses(output: HeadOutput, samples: list[FilmSample]) -> Losses:
    """Class, box and distribution losses over a batch."""
    boxes = corner_boxes(output)
    logits = output.classes.float().transpose(1, 2)
    distances = output.distances.float().transpose(1, 2)
    class_loss, box_loss, bin_loss, mass = (
        logits.new_zeros(()),
        logits.new_zeros(()),
        logits.new_zeros(()),
        0.0,
    )
    for index, sample in enumerate(samples):
        target = torch.zeros_like(logits[index])
        if len(sample.labels):
            truth = torch.from_numpy(sample.boxes).to(logits.device)
            labels = torch.from_numpy(sample.labels).to(logits.device)
            owner, score, taken = assign(
                logits[index].detach().sigmoid(), boxes[index].detach(), output.centres, truth, labels
            )
            target[taken, labels[owner[taken]]] = score[taken]
            weight = score[taken]
            matched = truth[owner[taken]]
            box_loss = box_loss + ((1 - complete_iou(boxes[index][taken], matched)) * weight).sum()
            bin_loss = bin_loss + (_bin_loss(output, distances[index], taken, matched) * weight).sum()
            mass += float(weight.sum())
        class_loss = class_loss + F.binary_cross_entropy_with_logits(logits[index], target, reduction="sum")
    scale = max(mass, 1.0)
    return {"class": 0.5 * class_loss / scale, "box": 7.5 * box_loss / scale, "bins": 1.5 * bin_loss / scale}


def _bin_loss(output: HeadOutput, distances: Tensor, taken: Tensor, matched: Tensor) -> Tensor:
    """Cross-entropy against the two bins beside each true distance."""
    centres, strides = output.centres[taken], output.strides[taken][:, None]
    wanted = torch.cat([centres - matched[:, :2], matched[:, 2:] - centres], dim=1) / strides
    wanted = wanted.clamp(0, BINS - 1.01)
    lower = wanted.long()
    share = wanted - lower
    logs = distances[taken].reshape(-1, 4, BINS).log_softmax(2)
    low = logs.gather(2, lower[..., None])[..., 0]
    high = logs.gather(2, lower[..., None] + 1)[..., 0]
    return -(low * (1 - share) + high * share).mean(1)


class XrayTask:
    """Data, losses and evaluation of the chest X-ray model."""

    def __init__(self, data: Path, batch: int, seed: int = 1) -> None:
        films = split_films(read_films(data / "chest_xrays"))
        self.painter = FilmPainter(films["train"], seed, SIZE, augment=True)
        painter = FilmPainter(films["val"], 7, 640, augment=False)
        self.val = [painter() for _ in range(24)]
        self.batch = batch

    def losses(self, network: nn.Module, step: int) -> Losses:
        """One batch of freshly painted films."""
        del step
        samples = [self.painter() for _ in range(self.batch)]
        device = next(network.parameters()).device
        images = (
            torch.from_numpy(np.stack([s.image for s in samples]))[:, None].expand(-1, 3, -1, -1).to(device)
        )
        with torch.autocast(device.type, torch.bfloat16):
            output: HeadOutput = network(images.contiguous(memory_format=torch.channels_last))
        return head_losses(output, samples)

    def evaluate(self, network: nn.Module) -> Mapping[str, float]:
        """Mean AP at IoU 0.4 on painted val films."""
        infer = torch_infer(Yolo11Export(network).eval(), ["images"], ["output0"])
        films = [(film.image, film.boxes, film.labels) for film in self.val]
        return {name: measured.value for name, measured in film_scores(infer, films).items()}


def train(data: Path, cache: Path, checkpoints: Path, steps: int, batch: int) -> Path:
    """Train or resume; returns the checkpoint."""
    del cache
    task = XrayTask(data, batch)
    trainer = Trainer("xray", Yolo11n(), Budget(steps, 2e-3, warm_up_steps=60, average=0.99), checkpoints)
    trainer.resume()
    trainer.run(task.losses, task.evaluate, evaluate_every=200)
    return trainer.checkpoint
