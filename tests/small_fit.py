"""A LightningModule of a few parameters and a Trainer that says nothing, for tests of callbacks and schedules."""

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import pv_sparse as pvs

# What Lightning says of loaders without workers, and what torch says of how Lightning reads trees.
QUIET = (
    "ignore:The '.*_dataloader' does not have many workers",
    "ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning",
)


class SmallModule(pl.LightningModule):
    """Any model, learning with SGD; `seen` are the weights of its classifier at each validation."""

    def __init__(self, model: nn.Module | None = None, lr: float = 0.1):
        super().__init__()
        self.model = model or pvs.create_tsn(num_classes=3, backbone="tiny", dropout=0.0)
        self.lr = lr
        self.seen: list[Tensor] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.seen.append(self.model.head.fc.weight.detach().clone())
        self.model(batch[0])

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.SGD(parameters, lr=self.lr)


def loader(num_videos: int = 8, num_segments: int = 2, batch_size: int = 4) -> DataLoader:
    """Videos of noise of 3 classes, always the same."""
    generator = torch.Generator().manual_seed(0)
    video = torch.randn(num_videos, 3, num_segments, 32, 32, generator=generator)
    return DataLoader(TensorDataset(video, torch.arange(num_videos) % 3), batch_size=batch_size)


def trainer(**arguments) -> pl.Trainer:
    """On the CPU, without files, bars and logs."""
    return pl.Trainer(
        **{
            "accelerator": "cpu",
            "devices": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "max_epochs": 2,
        }
        | arguments
    )
