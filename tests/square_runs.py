"""Small runs of `pv-sparse train` on the generated squares, for the tests of training."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pv_sparse.recipes.config import compose
from pv_sparse.recipes.training import train

# 6 batches of 2 in an epoch, of 4 frames of 32 pixels.
SMALL = (
    "experiment=square_tsn",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "data.train.num_videos=12",
    "data.val.num_videos=4",
    "data.batch_size=2",
    "data.num_workers=0",
    "input.size=32",
    "input.resize=32",
    "optim.warmup_epochs=0",
    "checkpoint_every_steps=1",
)


quiet_lightning = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    # Of `torch.utils.data` and of Lightning, which speak of speed.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


class Killed(BaseException):
    """Stands for the end of a process: nothing catches it."""


def run(data: Path, out: Path, *overrides: str, without: tuple[str, ...] = ()) -> dict[str, float]:
    """Train, with `SMALL` changed by overrides and less those of some names; returns the figures."""
    settings = (*SMALL, f"data.root={data}", f"out={out}", *overrides)
    given = {setting.partition("=")[0]: setting for setting in settings}
    return train(compose("train", [setting for name, setting in given.items() if name not in without]).config)


def tensors(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model.safetensors")


def assert_same_tensors(first: Path, second: Path) -> None:
    """To the last bit."""
    one, other = tensors(first), tensors(second)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
