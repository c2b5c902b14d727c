"""`python -m engine_builder.training MODEL --data FOLDER`: train or resume one reference model."""

from __future__ import annotations

import importlib
from pathlib import Path

import click
import torch

MODELS = ("segmenter", "detector", "classifier", "xray", "vindr")


@click.command()
@click.argument("model", type=click.Choice(MODELS))
@click.option(
    "--data", type=click.Path(exists=True, path_type=Path), required=True, help="The training data."
)
@click.option(
    "--work", type=click.Path(path_type=Path), default=Path("training"), help="Caches and checkpoints."
)
@click.option(
    "--steps", type=int, required=True, help="Length of the whole schedule, resumed steps included."
)
@click.option("--batch", type=int, required=True)
@click.option("--threads", type=int, default=2, show_default=True)
def main(model: str, data: Path, work: Path, steps: int, batch: int, threads: int) -> None:
    """Train MODEL; checkpoints and the learning curve go to WORK/checkpoints."""
    torch.set_num_threads(threads)
    recipe = importlib.import_module(f"engine_builder.training.{model}")
    recipe.train(data, work / "cache", work / "checkpoints", steps, batch)


if __name__ == "__main__":
    main()
