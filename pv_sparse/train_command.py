"""`pv-sparse train`: from overrides to a run, here or as a job of a cluster."""

from collections.abc import Sequence

import click
from omegaconf import OmegaConf

from pv_sparse.recipes.config import compose
from pv_sparse.recipes.console import leave_cores_to, quiet_lightning, tell
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
        leave_cores_to(config.data.num_workers)
        figures = train(config)
        tell("  ".join(f"{name} {value:.4f}" for name, value in figures.items()))
        tell(f"{config.out}/model.safetensors has the model, {config.out}/report/ the report")
