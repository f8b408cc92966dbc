"""The folder of a run: what is where in it, and whether a run goes on in it."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from pv_sparse.errors import PvSparseError
from pv_sparse.recipes.config import differences, write_config

# What may change between two starts of one run; `data.root` where the data were moved.
FREE = ("out", "resume", "data.num_workers", "trainer.log_every_n_steps", "checkpoint_every_steps", "launcher")


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
        return self.checkpoints / "last.ckpt"

    @property
    def best(self) -> Path:
        return self.checkpoints / "best.ckpt"

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
            PvSparseError: a run with other settings is in it.
        """
        if config.resume and self.config.exists():
            self._check_same(config)
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        if not config.resume:
            for path in (self.last, self.best, self.model):
                path.unlink(missing_ok=True)
        write_config(config, self.config)
        return self.last.exists()

    def _check_same(self, config: DictConfig) -> None:
        before = OmegaConf.load(self.config)
        changed = {
            key: values
            for key, values in differences(before, config).items()  # type: ignore[arg-type]
            if not key.startswith(FREE)
        }
        if changed:
            told = ", ".join(f"{key}={new} in place of {old}" for key, (old, new) in changed.items())
            raise PvSparseError(
                f"{self.path} holds a run with other settings ({told}): give another out=, the settings it had, or "
                "resume=false to begin anew there"
            )
