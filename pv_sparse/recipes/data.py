"""`VideoDataModule`: lists of videos as the batches that Lightning trains and evaluates with."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, default_collate

from pv_sparse.data.annotations import VideoList
from pv_sparse.data.dataset import Sample, SparseVideoDataset
from pv_sparse.recipes.batches import EpochBatches, EvaluationPart, TrainLoader
from pv_sparse.recipes.classes import Classes, count_classes, find_classes, in_order_of, multi_hot
from pv_sparse.recipes.inputs import ClipInput

BATCH_KEYS = ("video", "label", "video_index", "requested_index")


class VideoDataModule(LightningDataModule):
    """Training, validation and test videos.

    A batch is `video` (N, C, T, H, W) normalised float32, `label`, `video_index` and `requested_index` (N,). `label` is
    (N,) int64; of several tasks a dict of them; of several right classes (N, num_classes) float32 of ones and zeros.

    Which samples a training batch has, and what is drawn for them, depends on `seed`, epoch and batch number alone. A
    file that cannot be read is replaced by another of its class (`SparseVideoDataset`).

    Args:
        train, val: as the readers of `pv_sparse.data` return them.
        test: what the last evaluation takes; None is `val`.
        clips: which frames, and what is done to them; its own or `ClipInput.for_model`'s.
        classes: names in the order that their numbers shall have; of several tasks, a dict. Labels of lists with names
            of their own follow (`in_order_of`).
        batch_size: videos in a batch of each process.
        num_workers: processes that decode, for each process that trains.
        drop_last: of training, see `EpochBatches`.
        seed: of all draws.
        index: of `pv-sparse index`, whose unreadable files are not tried.

    Raises:
        PvSparseError: an empty list, videos without labels, labels beyond the classes, lists whose classes differ.
        ValueError: arguments that sampler or transform refuse.
    """

    def __init__(
        self,
        train: VideoList,
        val: VideoList,
        test: VideoList | None = None,
        *,
        clips: ClipInput | None = None,
        classes: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        batch_size: int = 32,
        num_workers: int = 4,
        drop_last: bool = True,
        seed: int = 0,
        index: str | None = None,
    ):
        super().__init__()
        self.lists = {"train": train, "val": val, "test": test or val}
        if classes:
            self.lists = {split: in_order_of(videos, classes) for split, videos in self.lists.items()}
        self.classes: Classes = find_classes(self.lists)
        self.num_classes = count_classes(self.classes)
        self.clips = clips or ClipInput()
        self.batch_size, self.num_workers, self.drop_last, self.seed = batch_size, num_workers, drop_last, seed
        self.datasets = {split: self._dataset(split, index) for split in self.lists}

    def state_dict(self) -> dict[str, Any]:
        """Kept in checkpoints."""
        return {"batch_size": self.batch_size}

    def train_dataloader(self) -> DataLoader[Sample]:
        rank, world_size = self._place()
        batches = EpochBatches(
            self.datasets["train"],
            self.batch_size,
            seed=self.seed,
            batches_done=self._batches_done,
            rank=rank,
            world_size=world_size,
            drop_last=self.drop_last,
        )
        return TrainLoader(self.datasets["train"], batch_sampler=batches, **self._loading())

    def val_dataloader(self) -> DataLoader[Sample]:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Sample]:
        return self._evaluation_loader("test")

    def failed_files(self) -> dict[str, str]:
        """By path, why files could not be read."""
        return {path: why for dataset in self.datasets.values() for path, why in dataset.failed_files().items()}

    @property
    def multi_label(self) -> bool:
        """Whether labels are lists of all right classes."""
        return isinstance(self.lists["train"].samples[0][1]["label"], Sequence)

    def _dataset(self, split: str, index: str | None) -> SparseVideoDataset:
        is_training = split == "train"
        return SparseVideoDataset(
            self.lists[split],
            self.clips.sampler(is_training),
            self.clips.transform(is_training),
            seed=self.seed,
            dtype="uint8",
            modality="flow" if self.clips.modality == "flow" else "rgb",
            index=index,
        )

    def _evaluation_loader(self, split: str) -> DataLoader[Sample]:
        part = EvaluationPart(self.datasets[split], *self._place())
        return DataLoader(self.datasets[split], self.batch_size, sampler=part, **self._loading())

    def _loading(self) -> dict[str, Any]:
        num_classes = len(self.classes) if self.multi_label else None
        return {
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
            "collate_fn": Collate(num_classes),
        }

    def _batches_done(self) -> int:
        """That this process has trained with, in all epochs, those before it was killed too."""
        if self.trainer is None:
            return 0
        total: Any = self.trainer.fit_loop.epoch_loop.batch_progress.total
        return int(total.processed)

    def _place(self) -> tuple[int, int]:
        """Which process of how many this is."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)


class Collate:
    """Samples to a batch of what training needs.

    Args:
        num_classes: where labels are lists of right classes, how many there are.
    """

    def __init__(self, num_classes: int | None = None):
        self.num_classes = num_classes

    def __call__(self, samples: list[Sample]) -> Sample:
        kept = [{key: sample[key] for key in BATCH_KEYS} for sample in samples]
        if self.num_classes is None:
            return default_collate(kept)
        labels = [sample.pop("label") for sample in kept]
        return {**default_collate(kept), "label": multi_hot(labels, self.num_classes)}
