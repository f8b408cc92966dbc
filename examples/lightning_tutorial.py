"""PyTorchVideo's video classification tutorial, a LightningModule and a LabeledVideoDataset, with sparse sampling.

    python examples/lightning_tutorial.py VIDEOS [--arch trn]

VIDEOS is a folder with a folder of videos for each class. What differs from the tutorial's train.py is marked
`pv_sparse`; the rest is as today's Lightning and torchmetrics want it (pip install "pv-sparse[train]").
"""

import argparse
import json
from pathlib import Path

import lightning.pytorch as pytorch_lightning
import torch
import torch.nn.functional as F
from torchmetrics import Accuracy

import pv_sparse as pvs
import pv_sparse.data  # pv_sparse: Kinetics from here in place of pytorchvideo.data, so that our decoder is behind it


class VideoClassificationLightningModule(pytorch_lightning.LightningModule):
    def __init__(self, args: argparse.Namespace):
        super().__init__()
        self.args = args
        self.train_accuracy = Accuracy(task="multiclass", num_classes=args.num_classes)
        self.val_accuracy = Accuracy(task="multiclass", num_classes=args.num_classes)
        # pv_sparse: in the place of create_resnet.
        network = {
            "num_classes": args.num_classes,
            "backbone": args.backbone,
            "backbone_weights": args.backbone_weights,
        }
        if args.arch == "tsn":
            self.model = pvs.create_tsn(**network)
        else:
            self.model = pvs.create_trn(**network, num_segments=args.video_num_subsampled)
        self.batch_key = "video"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)

    def training_step(self, batch: dict, batch_idx: int) -> torch.Tensor:
        y_hat = self.model(batch[self.batch_key])
        loss = F.cross_entropy(y_hat, batch["label"])
        self.train_accuracy(y_hat, batch["label"])
        self.log("train_loss", loss, batch_size=len(y_hat))
        self.log("train_acc", self.train_accuracy, on_step=True, on_epoch=True, prog_bar=True, batch_size=len(y_hat))
        return loss

    def validation_step(self, batch: dict, batch_idx: int) -> torch.Tensor:
        y_hat = self.model(batch[self.batch_key])
        loss = F.cross_entropy(y_hat, batch["label"])
        self.val_accuracy(y_hat, batch["label"])
        self.log("val_loss", loss, batch_size=len(y_hat))
        self.log("val_acc", self.val_accuracy, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(y_hat))
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(
            self.parameters(), lr=self.args.lr, momentum=self.args.momentum, weight_decay=self.args.weight_decay
        )
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.args.max_epochs)]


class KineticsDataModule(pytorch_lightning.LightningDataModule):
    def __init__(self, args: argparse.Namespace):
        super().__init__()
        self.args = args

    def _make_transforms(self, mode: str) -> torch.nn.Module:
        # pv_sparse: the frames were chosen before they were decoded, so there is no UniformTemporalSubsample; and no
        # RemoveKey("audio"), since audio is not decoded.
        return pvs.create_sparse_video_transform(
            mode,
            size=self.args.video_crop_size,
            resize=self.args.video_min_short_side_scale,
            flip_probability=self.args.video_horizontal_flip_p,
        )

    def _dataset(self, mode: str, rule: str) -> torch.utils.data.IterableDataset:
        return pv_sparse.data.Kinetics(
            data_path=str(self.args.data_path),
            # pv_sparse: make_clip_sampler("random", 2.0) looks at 2 seconds; this looks at a frame from each segment.
            clip_sampler=pvs.SegmentClipSampler(self.args.video_num_subsampled, rule=rule),
            transform=self._make_transforms(mode),
        )

    # pv_sparse: no LimitDataset. Lightning takes data sets without a length; without workers, it had no third epoch.
    def train_dataloader(self) -> torch.utils.data.DataLoader:
        return self._loader(self._dataset("train", "random"))

    def val_dataloader(self) -> torch.utils.data.DataLoader:
        return self._loader(self._dataset("val", "center"))

    def _loader(self, dataset: torch.utils.data.IterableDataset) -> torch.utils.data.DataLoader:
        return torch.utils.data.DataLoader(dataset, batch_size=self.args.batch_size, num_workers=self.args.workers)


def main() -> None:
    pytorch_lightning.seed_everything(0)
    parser = argparse.ArgumentParser()
    parser.add_argument("data_path", type=Path)
    parser.add_argument("--arch", default="tsn", choices=["tsn", "trn"])
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--backbone_weights", help="imagenet, a name of the zoo, or a file")
    parser.add_argument("--lr", "--learning-rate", default=0.1, type=float)
    parser.add_argument("--momentum", default=0.9, type=float)
    parser.add_argument("--weight_decay", default=1e-4, type=float)
    parser.add_argument("--workers", default=2, type=int)
    parser.add_argument("--batch_size", default=32, type=int)
    parser.add_argument("--video_num_subsampled", default=8, type=int)
    parser.add_argument("--video_crop_size", default=224, type=int)
    parser.add_argument("--video_min_short_side_scale", default=256, type=int)
    parser.add_argument("--video_horizontal_flip_p", default=0.5, type=float)
    parser.add_argument("--max_epochs", default=200, type=int)
    args = parser.parse_args()
    args.num_classes = sum(folder.is_dir() for folder in args.data_path.iterdir())
    train(args)


def train(args: argparse.Namespace) -> None:
    trainer = pytorch_lightning.Trainer(max_epochs=args.max_epochs)
    trainer.fit(VideoClassificationLightningModule(args), KineticsDataModule(args))
    print(json.dumps({name: float(value) for name, value in trainer.callback_metrics.items()}))


if __name__ == "__main__":
    main()
