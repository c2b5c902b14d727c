"""Train YOLO11n on a VinDr-CXR folder that a user brings, and report on patients that it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from torch import nn

from appliance.models.reference import FILM_FILL, FILM_SIZE
from engine_builder.networks.yolo11 import HeadOutput, Yolo11Export, Yolo11n
from engine_builder.reference.evaluation import torch_infer
from engine_builder.training.loop import Budget, Losses, Trainer
from engine_builder.training.xray import FilmSample, head_losses
from engine_builder.vindr.films import VindrFilm, VindrSet, load_set
from engine_builder.vindr.report import measure, write_report

VALIDATED = 200
"""Films that are looked at during training; the report at the end takes the whole test part."""

SHARE_WITH_FINDINGS = 0.7
"""Of the films in a batch: most films of VinDr-CXR show nothing."""


class FilmSampler:
    """Draws films at another scale, place and contrast each time; never mirrored: hearts lie left."""

    def __init__(self, films: tuple[VindrFilm, ...], seed: int) -> None:
        self._with = [film for film in films if len(film.labels)]
        self._without = [film for film in films if not len(film.labels)]
        self._rng = np.random.default_rng(seed)

    def __call__(self) -> FilmSample:
        """One film with its boxes."""
        rng = self._rng
        some = self._with if self._with and rng.random() < SHARE_WITH_FINDINGS else self._without
        film = (some or self._with)[int(rng.integers(len(some or self._with)))]
        scale = float(rng.uniform(0.85, 1.2))
        shift = rng.uniform(-0.06, 0.06, 2) * FILM_SIZE + FILM_SIZE * (1 - scale) / 2
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        grey = film.grey().astype(np.float32) / 255
        image = cv2.warpAffine(grey, matrix, (FILM_SIZE, FILM_SIZE), borderValue=FILM_FILL / 255)
        image = np.power(np.clip(image, 0, 1), np.exp(rng.normal(0, 0.2)))
        image = np.clip(image * np.exp(rng.normal(0, 0.1)), 0, 1)
        boxes = (film.boxes * scale + np.tile(shift, 2)).clip(0, FILM_SIZE)
        kept = ((boxes[:, 2:] - boxes[:, :2]) > 3).all(1)
        return FilmSample(np.asarray(image, np.float32), boxes[kept].astype(np.float32), film.labels[kept])


class VindrTask:
    """Data, losses and evaluation."""

    def __init__(self, films: VindrSet, batch: int, seed: int = 1) -> None:
        self.sampler = FilmSampler(films.train, seed)
        self.val = films.val[:VALIDATED]
        self.batch = batch

    def losses(self, network: nn.Module, step: int) -> Losses:
        """One batch."""
        del step
        samples = [self.sampler() for _ in range(self.batch)]
        device = next(network.parameters()).device
        planes = torch.from_numpy(np.stack([sample.image for sample in samples]))[:, None]
        images = planes.expand(-1, 3, -1, -1).to(device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            output: HeadOutput = network(images)
        return head_losses(output, samples)

    def evaluate(self, network: nn.Module) -> Mapping[str, float]:
        """Mean AP over the validation films' classes."""
        infer = torch_infer(Yolo11Export(network).eval(), ["images"], ["output0"])
        return {name: found.value for name, found in measure(infer, self.val, rounds=0).mean.items()}


def train(data: Path, cache: Path, checkpoints: Path, steps: int, batch: int) -> Path:
    """Train or resume, then report on the test part; returns the checkpoint."""
    films = load_set(data, cache / "vindr")
    task = VindrTask(films, batch)
    budget = Budget(steps, 2e-3, warm_up_steps=min(500, max(1, steps // 10)), average=0.999)
    trainer = Trainer("vindr", Yolo11n(), budget, checkpoints)
    trainer.resume()
    trainer.run(task.losses, task.evaluate, evaluate_every=2000)
    served = Yolo11n()
    served.load_state_dict(trainer.average)
    infer = torch_infer(
        Yolo11Export(served.to(trainer.device)).eval(), ["images"], ["output0"], bfloat16=False
    )
    _, table = write_report(measure(infer, films.test), films, checkpoints)
    Console().print(table.read_text(encoding="utf-8"), highlight=False)
    return trainer.checkpoint
