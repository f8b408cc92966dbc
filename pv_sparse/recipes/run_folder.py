"""The folder of a run: what is where in it, and whether a run goes on in it."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from pv_sparse.errors import PvSparseError
from pv_sparse.recipes.checkpoints import BEST, LAST
from pv_sparse.recipes.config import differences, write_config

# What may change between two starts of one run.
FREE = (
    "out",
    "resume",
    "data.num_workers",
    "trainer.log_every_n_steps",
    "checkpoint_every_steps",
    "launcher",
    "select",
)
RESULTS = ("history.csv", "model.safetensors")
FOLDERS = ("checkpoints", "report", "tensorboard")


@dataclass(frozen=True)
class RunFolder:
    """Where a run writes.

    Args:
        path: of the folder; it is made.
    """

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """To go on from."""
        return self.checkpoints / LAST

    @property
    def best(self) -> Path:
        return self.checkpoints / BEST

    @property
    def model(self) -> Path:
        """The best weights with their record."""
        return self.path / "model.safetensors"

    @property
    def report(self) -> Path:
        return self.path / "report"

    def begin(self, config: DictConfig) -> bool:
        """Make the folder, or enter it again; returns whether there is a checkpoint to go on from.

        Raises:
            PvSparseError: a run with other settings has begun in it.
        """
        goes_on = bool(config.resume) and self.last.exists()
        if goes_on and self.config.exists():
            self._check_same(config)
        if getattr(rank_zero_only, "rank", 0) == 0:
            self._tidy(begins_anew=not config.resume)
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            write_config(config, self.config)
        return goes_on

    def _tidy(self, begins_anew: bool) -> None:
        """Away with what a killed process left half written; and with the results of the run before."""
        for part in [*self.path.glob(".*.part"), *self.checkpoints.glob(".*.part")]:
            part.unlink()
        if begins_anew:
            for name in RESULTS:
                (self.path / name).unlink(missing_ok=True)
            for name in FOLDERS:
                shutil.rmtree(self.path / name, ignore_errors=True)

    def _check_same(self, config: DictConfig) -> None:
        before: DictConfig = OmegaConf.load(self.config)  # type: ignore[assignment]
        changed = {
            key: values
            for key, values in differences(before, config).items()
            if not _is_free(key) and not _is_moved(before, config, *values)
        }
        if _may_be_longer(before, config):
            changed.pop("trainer.max_epochs", None)
        if changed:
            told = ", ".join(f"{key}={new} in place of {old}" for key, (old, new) in changed.items())
            raise PvSparseError(
                f"{self.path} holds a run with other settings ({told}): give another out=, the settings it had, or "
                "resume=false to begin anew there"
            )


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in FREE)


def _is_moved(before: DictConfig, config: DictConfig, old: Any, new: Any) -> bool:
    """Whether these are one path below `data.root`, in two places."""
    return isinstance(old, str) and old.replace(str(before.data.root), str(config.data.root), 1) == new


def _may_be_longer(before: DictConfig, config: DictConfig) -> bool:
    """A cosine would have been another one from the start."""
    is_longer: bool = config.trainer.max_epochs >= before.trainer.max_epochs
    return is_longer and config.optim.schedule != "cosine"
