"""The one training loop: steps against a time or step budget, cosine schedule, checkpoints that resume."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn

Losses = Mapping[str, Tensor]


@dataclass(frozen=True)
class Budget:
    """How long and how fast to learn."""

    steps: int
    learning_rate: float
    warm_up_steps: int = 100
    weight_decay: float = 0.02
    save_every_s: float = 180.0
    average: float = 0.998
    """Decay of the exponential moving average of the weights, which is what gets evaluated and exported."""


class Trainer:
    """Runs `step_losses` until the budget is spent, saves every few minutes, resumes from the last save."""

    def __init__(self, name: str, network: nn.Module, budget: Budget, folder: Path, seed: int = 1) -> None:
        torch.manual_seed(seed)
        self.name, self.network, self.budget, self.folder = name, network, budget, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network.to(self.device, memory_format=torch.channels_last)
        decayed = [p for p in network.parameters() if p.ndim > 1]
        plain = [p for p in network.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": budget.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=budget.learning_rate)
        self.average = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self.step = 0
        self.spent_s = 0.0
        self._console = Console()

    @property
    def checkpoint(self) -> Path:
        """Where weights, optimizer and step count are kept."""
        return self.folder / f"{self.name}.pt"

    def resume(self) -> bool:
        """Continue from the last checkpoint; False where there is none."""
        if not self.checkpoint.exists():
            return False
        stored = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.network.load_state_dict(stored["network"])
        self.optimizer.load_state_dict(stored["optimizer"])
        self.average = stored["average"]
        self.step, self.spent_s = int(stored["step"]), float(stored["spent_s"])
        return True

    def save(self) -> None:
        """Write the checkpoint beside the old one, then replace it."""
        temporary = self.checkpoint.with_suffix(".tmp")
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "step": self.step,
            "spent_s": self.spent_s,
        }
        torch.save(state, temporary)
        temporary.replace(self.checkpoint)

    def run(
        self,
        step_losses: Callable[[nn.Module, int], Losses],
        evaluate: Callable[[nn.Module], Mapping[str, float]],
        evaluate_every: int,
    ) -> None:
        """Learn until the budget's last step; each evaluation is a line of NAME.jsonl, the learning curve."""
        self.network.train()
        started = saved = time.monotonic()
        begun_s, sums, count = self.spent_s, dict[str, float](), 0
        while self.step < self.budget.steps:
            self._schedule()
            losses = step_losses(self.network, self.step)
            total = torch.stack(list(losses.values())).sum()
            self.optimizer.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self.optimizer.step()
            self._update_average()
            self.step += 1
            count += 1
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + float(loss.detach())
            now = time.monotonic()
            self.spent_s = begun_s + now - started
            if self.step % 20 == 0:
                shown = "  ".join(f"{name} {value / count:.3f}" for name, value in sums.items())
                self._console.print(
                    f"{self.name} step {self.step} {self.spent_s:.0f} s  {shown}", highlight=False
                )
                sums, count = {}, 0
            if now - saved > self.budget.save_every_s or self.step == self.budget.steps:
                self.save()
                saved = time.monotonic()
            if self.step % evaluate_every == 0 or self.step == self.budget.steps:
                self._report(evaluate)

    def _schedule(self) -> None:
        warm = min(1.0, (self.step + 1) / self.budget.warm_up_steps)
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, self.step / self.budget.steps)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.budget.learning_rate * warm * max(cosine, 0.02)

    def _update_average(self) -> None:
        decay = min(self.budget.average, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.dtype.is_floating_point:
                    self.average[name].lerp_(value, 1.0 - decay)
                else:
                    self.average[name].copy_(value)

    def _report(self, evaluate: Callable[[nn.Module], Mapping[str, float]]) -> None:
        current = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        self.network.eval()
        with torch.no_grad():
            figures = dict(evaluate(self.network))
        self.network.load_state_dict(current)
        self.network.train()
        line = {
            "step": self.step,
            "spent_s": round(self.spent_s),
            **{k: round(v, 5) for k, v in figures.items()},
        }
        with (self.folder / f"{self.name}.jsonl").open("a") as curve:
            curve.write(json.dumps(line) + "\n")
        self._console.print(f"{self.name} {line}", highlight=False)
