"""`pv-sparse train`: from overrides to a run, here or as a job of a cluster."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click
from omegaconf import DictConfig, OmegaConf

from pv_sparse.recipes.config import compose
from pv_sparse.recipes.console import exit_code, leave_cores_to, quiet_lightning, tell, warn
from pv_sparse.recipes.launching import submit
from pv_sparse.recipes.training import train


def run(overrides: Sequence[str], show_config: bool = False) -> None:
    """Train as `configs/train.yaml` and the overrides say, and print the last figures."""
    composed = compose("train", overrides, may_miss=show_config)
    config = composed.config
    if not config.out:
        config.out = f"runs/{composed.name}"
    if show_config:
        click.echo(OmegaConf.to_yaml(config), nl=False)
    elif config.launcher.cluster is not None:
        click.echo(f"submitted as job {submit(config)}; it writes into {config.out}")
    else:
        quiet_lightning()
        leave_cores_to(config.data.num_workers)
        figures = _trained(config)
        tell("  ".join(f"{name} {value:.4f}" for name, value in figures.items()))
        told = f"{config.out}/model.safetensors has the model"
        tell(f"{told}, {config.out}/report/ the report" if (Path(config.out) / "report").is_dir() else told)


def _trained(config: DictConfig) -> dict[str, float]:
    """A run that is told to stop says so, and ends with the code of a stopped program."""
    try:
        return train(config)
    except (KeyboardInterrupt, SystemExit) as stop:
        warn("stopped: the same command goes on from the last checkpoint")
        sys.exit(exit_code(stop))
