"""`pv-sparse train`: from overrides to a run, here or as a job of a cluster."""

import os
from collections.abc import Sequence

import click
import torch
from omegaconf import OmegaConf

from pv_sparse.recipes.config import compose
from pv_sparse.recipes.console import quiet_lightning, tell
from pv_sparse.recipes.launching import submit
from pv_sparse.recipes.training import train


def run(overrides: Sequence[str], show_config: bool = False) -> None:
    """Train as `configs/train.yaml` and the overrides say, and print the last figures."""
    composed = compose("train", overrides, may_miss=show_config)
    config = composed.config
    if config.out is None:
        config.out = f"runs/{composed.name}"
    if show_config:
        click.echo(OmegaConf.to_yaml(config), nl=False)
    elif config.launcher.cluster is not None:
        click.echo(f"submitted as job {submit(config)}; it writes into {config.out}")
    else:
        quiet_lightning()
        _leave_cores_to(config.data.num_workers)
        figures = train(config)
        tell("  ".join(f"{name} {value:.4f}" for name, value in figures.items()))
        tell(f"{config.out}/model.safetensors has the model, {config.out}/report/ the report")


def _leave_cores_to(num_workers: int) -> None:
    """Threads of torch that wait for cores make steps many times slower; decoding needs its own."""
    if "OMP_NUM_THREADS" not in os.environ and not torch.cuda.is_available():
        torch.set_num_threads(max(1, torch.get_num_threads() - num_workers))
