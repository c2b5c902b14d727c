"""Train the ResNet-18 classifier: 24 classes from spreads, which arm is up from upright chromosomes.

The spreads have classes but no orientation; the upright set and the phantoms have both. Every batch mixes the
three, half of each turned by half a turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from engine_builder.networks.resnet import ChromosomeClassifier
from engine_builder.reference.evaluation import class_accuracy, polarity_accuracy, torch_infer
from engine_builder.training.loop import Budget, Losses, Trainer
from engine_builder.training.phantom_spreads import PHANTOMS, cached_phantoms
from engine_builder.training.spreads import STAIN_UNITS, cached_crops
from engine_builder.training.upright import read_upright, split_upright


class Augmenter:
    """Random turns, scale, contrast, blur and noise on crops, as other microscopes would do."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, crop: NDArray[np.uint8], half_turn: bool) -> NDArray[np.float32]:
        """(128, 96) uint8 → (128, 96) float32 stain."""
        rng = self.rng
        height, width = crop.shape
        turn = rng.normal(0.0, 6.0) + (180.0 if half_turn else 0.0)
        centre = (width / 2 - 0.5, height / 2 - 0.5)
        matrix = np.asarray(cv2.getRotationMatrix2D(centre, turn, float(np.exp(rng.normal(0, 0.06)))), float)
        matrix[:, 2] += rng.normal(0, 1.5, 2)
        matrix[:, 1] *= np.exp(rng.normal(0, 0.03))
        view = cv2.warpAffine(crop.astype(np.float32) / STAIN_UNITS, matrix, (width, height))
        if rng.random() < 0.5:
            view = view[:, ::-1]
        if rng.random() < 0.4:
            view = cv2.GaussianBlur(view, (0, 0), float(rng.uniform(0.4, 1.3)))
        if rng.random() < 0.3:
            sharp = view * 1.6 - cv2.GaussianBlur(view, (0, 0), 1.2) * 0.6
            view = np.where(view > 0.02, sharp, view)
        view = np.power(np.clip(view, 0.0, 1.3), np.exp(rng.normal(0, 0.2))) * np.exp(rng.normal(0, 0.12))
        view = view + rng.normal(0.0, rng.uniform(0.0, 0.03), view.shape) * (view > 0.02)
        if rng.random() < 0.15:
            self._cut(view)
        return np.ascontiguousarray(view, dtype=np.float32)

    def _cut(self, view: NDArray[np.float32]) -> None:
        """Lose an end or a strip, as where a neighbour overlaps."""
        row = int(self.rng.integers(0, view.shape[0] - 12))
        view[row : row + int(self.rng.integers(4, 14)), : int(self.rng.integers(20, 96))] = 0.0


class ClassifierTask:
    """Data, losses and evaluation of the classifier."""

    def __init__(self, data: Path, cache: Path, batch: int = 32, seed: int = 1) -> None:
        self.train = cached_crops(data / "metaphases", "train", cache)
        self.val = cached_crops(data / "metaphases", "val", cache)
        self.upright, self.upright_val = split_upright(read_upright(data / "upright_chromosomes"))
        self.phantoms = cached_phantoms(PHANTOMS, cache)[1]
        self.batch, self.rng, self.augment = batch, np.random.default_rng(seed), Augmenter(seed)

    def losses(self, network: nn.Module, step: int) -> Losses:
        """Cross-entropy with smoothing, orientation where it is known."""
        del step
        picks = self.rng.integers(0, len(self.train.labels), self.batch)
        quarter = self.batch // 4
        uprights = self.rng.integers(0, len(self.upright.labels), quarter)
        phantoms = self.rng.integers(0, len(self.phantoms.labels), quarter)
        turned = self.rng.random(len(picks) + 2 * quarter) < 0.5
        parts = ((self.train, picks), (self.upright, uprights), (self.phantoms, phantoms))
        crops = [source.pixels[i] for source, indices in parts for i in indices]
        views = np.stack([self.augment(crop, bool(t)) for crop, t in zip(crops, turned, strict=True)])
        device = next(network.parameters()).device
        images = torch.from_numpy(views)[:, None].to(device)
        labels = torch.from_numpy(np.concatenate([source.labels[indices] for source, indices in parts])).to(
            device
        )
        with torch.autocast(device.type, torch.bfloat16):
            classes, polarity = network(images)
        up = torch.from_numpy(~turned[len(picks) :]).float().to(device)
        return {
            "class": F.cross_entropy(classes.float(), labels, label_smoothing=0.05),
            "polarity": 0.5 * F.binary_cross_entropy_with_logits(polarity[len(picks) :, 0].float(), up),
        }

    def evaluate(self, network: nn.Module) -> Mapping[str, float]:
        """Class accuracy on every eighth val crop and on held-out slides, polarity on held-out slides."""
        infer = torch_infer(network.eval(), ["crops"], ["class_logits", "polarity_logit"])
        return {
            "class_accuracy": class_accuracy(infer, self.val.pixels[::8], self.val.labels[::8]).value,
            "upright_class_accuracy": class_accuracy(
                infer, self.upright_val.pixels, self.upright_val.labels
            ).value,
            "polarity_accuracy": polarity_accuracy(infer, self.upright_val.pixels).value,
        }


def train(data: Path, cache: Path, checkpoints: Path, steps: int, batch: int = 32) -> Path:
    """Train or resume; returns the checkpoint."""
    task = ClassifierTask(data, cache, batch)
    trainer = Trainer("classifier", ChromosomeClassifier(), Budget(steps, 1e-3), checkpoints)
    trainer.resume()
    trainer.run(task.losses, task.evaluate, evaluate_every=400)
    return trainer.checkpoint
