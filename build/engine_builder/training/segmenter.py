"""Train the EfficientNet-B5 + U-Net segmenter: chromosome, nucleus or debris, background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from engine_builder.networks.unet import Segmenter
from engine_builder.reference.evaluation import segmenter_scores, torch_infer
from engine_builder.training.detector import FieldAugmenter
from engine_builder.training.loop import Budget, Losses, Trainer
from engine_builder.training.phantom_spreads import PHANTOMS, cached_phantoms
from engine_builder.training.spreads import cached_fields

CROP = 256
_UNKNOWN = 255


class SegmenterTask:
    """Data, losses and evaluation of the segmenter."""

    def __init__(self, data: Path, cache: Path, batch: int, seed: int = 1) -> None:
        real = cached_fields(data / "metaphases", "train", cache)
        phantoms = cached_phantoms(PHANTOMS, cache)[0]
        self.fields = [replace(field, instances=field.classes) for field in [*real, *phantoms]]
        self.val = cached_fields(data / "metaphases", "val", cache)
        self.with_nuclei = np.flatnonzero([(f.classes == 2).mean() > 0.01 for f in self.fields])
        self.batch, self.rng = batch, np.random.default_rng(seed)
        self.phantoms = np.arange(len(real), len(self.fields))
        self.augment = FieldAugmenter(seed, size=CROP, scales=(0.55, 1.25), anywhere=0.4)

    def losses(self, network: nn.Module, step: int) -> Losses:
        """Cross-entropy over known pixels and Dice of the chromosome class."""
        del step
        picks = self.rng.integers(0, len(self.fields), self.batch)
        picks[: self.batch // 2] = self.rng.choice(self.with_nuclei, self.batch // 2)
        if self.rng.random() < 0.6:
            picks[0] = self.rng.choice(self.phantoms)
        samples = [self.augment(self.fields[i]) for i in picks]
        device = next(network.parameters()).device
        image = torch.from_numpy(np.stack([s.image for s in samples]))[:, None].to(device)
        truth = torch.from_numpy(np.stack([s.instances for s in samples])).long().to(device)
        with torch.autocast(device.type, torch.bfloat16):
            logits = network(image.contiguous(memory_format=torch.channels_last)).float()
        known = (truth != _UNKNOWN).float()
        probability = logits.softmax(1)[:, 1] * known
        wanted = (truth == 1).float()
        dice = 2 * (probability * wanted).sum() / (probability.sum() + wanted.sum()).clamp(min=1.0)
        return {
            "entropy": F.cross_entropy(logits, truth, ignore_index=_UNKNOWN),
            "dice": 0.5 * (1.0 - dice),
        }

    def evaluate(self, network: nn.Module) -> Mapping[str, float]:
        """Dice of chromosome and of nucleus or debris on every 29th val field, whole fields in 512²."""
        infer = torch_infer(network, ["image"], ["logits"])
        return {name: measured.value for name, measured in segmenter_scores(infer, self.val[::29]).items()}


def train(data: Path, cache: Path, checkpoints: Path, steps: int, batch: int) -> Path:
    """Train or resume; returns the checkpoint."""
    task = SegmenterTask(data, cache, batch)
    trainer = Trainer(
        "segmenter", Segmenter(), Budget(steps, 1e-3, warm_up_steps=60, average=0.99), checkpoints
    )
    trainer.resume()
    trainer.run(task.losses, task.evaluate, evaluate_every=100)
    return trainer.checkpoint
