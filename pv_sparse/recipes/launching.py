"""A run as a job of a cluster, by submitit (extra `slurm`)."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from pv_sparse.errors import PvSparseError
from pv_sparse.recipes.config import plain


class TrainJob:
    """Calls `train` in a job; one that is preempted or runs out of time is submitted again, and goes on where it was.

    Args:
        config: of `configs/train.yaml`.
    """

    def __init__(self, config: dict[str, Any]):
        self.config = config

    def __call__(self) -> dict[str, float]:
        from pv_sparse.recipes.training import train

        return train(OmegaConf.create(self.config))

    def checkpoint(self) -> Any:
        """What submitit submits again: the checkpoints of the run say where it goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(TrainJob({**self.config, "resume": True}))


def submit(config: DictConfig) -> str:
    """Submit a run to `launcher.cluster`, with submitit's `launcher.parameters`; returns the job's number.

    Raises:
        ImportError: submitit is not installed.
    """
    try:
        import submitit
    except ImportError as error:
        raise ImportError('launcher=slurm needs submitit: pip install "pv-sparse[slurm]"') from error
    launcher = plain(config.launcher)
    if not isinstance(config.trainer.devices, int):
        raise PvSparseError(
            f"trainer.devices={config.trainer.devices} is no number: a job asks for so many GPUs of each machine"
        )
    executor = submitit.AutoExecutor(Path(launcher["folder"]), cluster=launcher["cluster"])
    executor.update_parameters(**{key: value for key, value in launcher["parameters"].items() if value is not None})
    here = OmegaConf.create(plain(config))
    with open_dict(here):
        here.launcher = {"cluster": None}
    return str(executor.submit(TrainJob(plain(here))).job_id)
