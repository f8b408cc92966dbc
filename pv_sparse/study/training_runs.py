"""One training run of the study: its configuration, the key that it is shared by, and the run itself."""

import copy
import hashlib
import json
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from pv_sparse.recipes.config import plain
from pv_sparse.recipes.console import quiet_lightning
from pv_sparse.recipes.run_folder import RunFolder
from pv_sparse.recipes.training import train
from pv_sparse.whole_files import whole_file

MODEL_FILE, CLOCK_FILE, LOG_FILE = "model.safetensors", "study.json", "log.txt"
# What does not change which weights are learned.
FREE = (
    "out",
    "resume",
    "study",
    "launcher",
    "checkpoint_every_steps",
    "data.source",
    "data.num_workers",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.log_every_n_steps",
)


@dataclass(frozen=True)
class TrainingRun:
    """A configuration of `pv-sparse train`, without `out`.

    Attributes:
        config: `data.root` is where the data are; what refers to it, or to the seed, still does.
        data: name of the data set.
        flow: whether it reads optical flow.
    """

    config: DictConfig
    data: str
    flow: bool = False

    @property
    def key(self) -> str:
        """What stands for everything that changes the weights; places and numbers of processes do not."""
        return key_of(self.config)

    @property
    def expected_cost(self) -> float:
        """For the order of runs: those that take long come first."""
        config = self.config
        segments = config.model.get("num_segments") or config.input.num_segments or 8
        frames = segments * config.model.get("frames_per_segment", 1)
        is_decoded = self.flow or not config.data.get("frames", False)
        return float(config.trainer.max_epochs * config.data.train.get("num_videos", 150) * (frames + 16 * is_decoded))


def key_of(config: DictConfig) -> str:
    """16 hexadecimal digits, of the configuration without `FREE` and without the place of the data."""
    neutral = copy.deepcopy(config)
    with open_dict(neutral):
        for name in FREE:
            node, _, last = name.rpartition(".")
            (OmegaConf.select(neutral, node) if node else neutral).pop(last, None)
        neutral.data.root = "data"
        if "source" in config.data:
            neutral.data.source = None  # other keys refer to it
    return digest(plain(neutral))


def digest(content: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of plain values, whatever the order of their keys."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def without_place(overrides: Iterable[str]) -> list[str]:
    """Overrides that tell a data set from others, wherever it lies."""
    return [override for override in overrides if not override.startswith("data.root=")]


def is_trained(folder: Path) -> bool:
    """Whether a run has ended in this folder."""
    return (folder / MODEL_FILE).exists() and _clock(folder).get("finished", False)


def cpu_seconds(folder: Path) -> float:
    """CPU time of the training that a folder holds, its validations included."""
    return float(_clock(folder).get("train_cpu_seconds", 0.0))


def train_into(folder: Path, run: TrainingRun, accelerator: str) -> None:
    """Train, or go on where training was broken off; what it says goes into `log.txt`.

    Args:
        folder: made where it is missing.
        run: what is trained.
        accelerator: of Lightning's Trainer, `cpu` or `gpu`; one device is used.

    Raises:
        PvSparseError, OSError, ValueError, TypeError: as of `train`.
    """
    config = copy.deepcopy(run.config)
    config.out, config.trainer.accelerator, config.trainer.devices = str(folder), accelerator, 1
    folder.mkdir(parents=True, exist_ok=True)
    # The key says that it is the same run; another experiment, place or accelerator may have begun it.
    RunFolder(folder).config.unlink(missing_ok=True)
    quiet_lightning()
    log_file = (folder / LOG_FILE).open("a", encoding="utf-8")
    with _measured(folder), log_file as log, redirect_stdout(log), redirect_stderr(log):
        try:
            train(config)
        except Exception:
            traceback.print_exc()
            raise


@contextmanager
def _measured(folder: Path) -> Iterator[None]:
    """Adds the CPU time of the block to what the folder has from before, of a run that was broken off."""
    before, begin, finished = cpu_seconds(folder), time.process_time(), False
    try:
        yield
        finished = True
    finally:
        clock = {"finished": finished, "train_cpu_seconds": before + time.process_time() - begin}
        with whole_file(folder / CLOCK_FILE) as file:
            file.write(json.dumps(clock).encode())


def _clock(folder: Path) -> dict[str, Any]:
    path = folder / CLOCK_FILE
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content
