"""SparseVideoDataset: videos by number, for `DataLoader`'s own samplers, with the samples of the host's data sets."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from pv_sparse.data.annotations import VideoList, read_videos
from pv_sparse.data.clip_sampling import SegmentClipSampler
from pv_sparse.data.corpus_index import read_index
from pv_sparse.data.encoded_video import checked_dtype, sample_keys
from pv_sparse.data.failures import FailureLog
from pv_sparse.data.opening import open_frames
from pv_sparse.data.random_state import seeded
from pv_sparse.data.segment_plan import Size
from pv_sparse.errors import PvSparseError, VideoDecodeError, one_line

logger = logging.getLogger(__name__)

Sample = dict[str, Any]
MOST_TRIES = 10
ON_ERROR = ("substitute", "raise")


class IndexRecord(Protocol):
    """What of a corpus index is used: why a file cannot be read, or None."""

    @property
    def error(self) -> str | None: ...


class SparseVideoDataset(Dataset[Sample]):
    """One sample for each clip of each video, by number: `len`, any order, `DistributedSampler`, several workers.

    A sample is the host's: `video` ((C, T, H, W), contiguous, 0 to 255, before the transform), `video_name`,
    `video_index`, `clip_index`, `aug_index`, the video's info such as `label`, and the keys of `SegmentClipSampler`.
    `requested_index` is the video that was asked for; it differs from `video_index` where another one stands in.

    Draws, the transform's from Python's, NumPy's and torch's generators included, depend on `seed`, the epoch and the
    sample's number, and on nothing else: neither the workers nor the order change a sample.

    A file that cannot be read is replaced by another video of its class, or of any where no other has its label, drawn
    in the same way, so that an epoch has as many samples as there are files, on every rank. It is logged as a warning,
    listed by `failed_files()`, and summed up when `set_epoch` starts the next epoch, wherever a worker met it.

    Args:
        labeled_video_paths: (path, info) of each video, as the host's; or a `VideoList`, as the readers of
            `pv_sparse.data.annotations` return; or a path, for `read_videos`. A video is a file, a folder of pictures
            (`FrameFolder`), or a `.npy` file of frames (`FrameArray`).
        clip_sampler: which frames.
        transform: from sample to sample, as the host's; one that returns None rejects the video.
        seed: of all draws.
        on_error: `substitute`, or `raise` the error of a file that cannot be read.
        dtype: of `video`: `float32` as the host gives it, or `uint8`.
        size: pixels of the frames, as in `SparseVideo.frames_at`; None keeps the video's.
        modality: `rgb`, or `flow` for folders of pictures.
        index: of the corpus (`pv-sparse index`): its file, or records by path; files that it knows to be unreadable are
            replaced without being opened.
        threads: of the decoder of a video file, as of `SparseVideo`: 1 where its CPU time is measured.
        video_sampler: taken and not used, since recipes of the host pass it: order is the DataLoader's business here.

    Raises:
        ValueError: an unknown `on_error`, `dtype` or `modality`, or no videos.
    """

    def __init__(
        self,
        labeled_video_paths: Sequence[tuple[str, Mapping[str, Any]]] | VideoList | str | os.PathLike[str],
        clip_sampler: SegmentClipSampler,
        transform: Callable[[Sample], Sample | None] | None = None,
        *,
        seed: int = 0,
        on_error: str = "substitute",
        dtype: str = "float32",
        size: Size | None = None,
        modality: str = "rgb",
        index: str | os.PathLike[str] | Mapping[str, IndexRecord] | None = None,
        threads: int | None = None,
        video_sampler: object = None,
    ):
        if on_error not in ON_ERROR:
            raise ValueError(f"on_error={on_error!r} is unknown: choose one of {', '.join(ON_ERROR)}")
        videos = _as_list(labeled_video_paths)
        if not videos.samples:
            raise ValueError("no videos were given: a data set needs at least one")
        self._labeled_videos, self.classes = videos.samples, videos.classes
        self.clip_sampler, self.transform = clip_sampler, transform
        self.seed, self.on_error, self.size, self.modality = seed, on_error, size, modality
        self.dtype, self.threads = dtype, threads
        checked_dtype(dtype)
        self._unreadable = _unreadable(index)
        # Shared, so that workers that live on see the next epoch.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._failures = FailureLog()

    @property
    def num_videos(self) -> int:
        """Files listed."""
        return len(self._labeled_videos)

    @property
    def video_sampler(self) -> "EpochsOf":
        """What recipes of the host call `set_epoch` of."""
        return EpochsOf(self)

    def __len__(self) -> int:
        return self.num_videos * self._clips_of_each

    def __getitem__(self, number: int) -> Sample:
        """The sample of this number, from the video number // (clips of each video).

        Raises:
            IndexError: a number outside the data set.
            VideoDecodeError: a file that cannot be read, under `on_error="raise"`, or 10 of them in a row.
        """
        if not -len(self) <= number < len(self):
            raise IndexError(f"sample {number} is outside the data set's {len(self)} samples")
        number %= len(self)
        requested, clip = divmod(number, self._clips_of_each)
        errors = []
        # The augmentations of a clip share its frames, and not the transform's draws.
        draws = np.random.default_rng([self.seed, int(self._epoch), number // self.clip_sampler.augs_per_clip])
        with seeded(self.seed, int(self._epoch), number):
            for video_index in self._candidates(requested, draws):
                try:
                    sample = self._load(video_index, clip, seed=int(draws.integers(2**62)))
                except (PvSparseError, OSError) as error:
                    if self.on_error == "raise":
                        raise
                    errors.append(one_line(error))
                    self._failures.add(self._labeled_videos[video_index][0], errors[-1], int(self._epoch))
                else:
                    return {**sample, "requested_index": requested}
        path = self._labeled_videos[requested][0]
        raise VideoDecodeError(path, f"neither it nor its {MOST_TRIES} substitutes can be read, as {errors[0]}")

    def set_epoch(self, epoch: int) -> None:
        """Start another epoch, with other draws; what failed in the one before is logged. Reaches living workers."""
        self.report_failures()
        self._epoch.fill_(epoch)

    def failed_files(self) -> dict[str, str]:
        """By path, why files could not be read, in any worker and epoch so far."""
        return self._failures.causes()

    def report_failures(self) -> str | None:
        """Log a summary of the files that failed in this epoch, and return it; None where none did."""
        failed = self._failures.causes(epoch=int(self._epoch))
        if not failed:
            return None
        told = "\n".join(f"  {cause}" for cause in failed.values())
        count = f"{len(failed)} of {self.num_videos} files failed, and others stood in"
        summary = f"epoch {int(self._epoch)}: {count}:\n{told}"
        logger.warning(summary)
        return summary

    @property
    def _clips_of_each(self) -> int:
        return self.clip_sampler.clips_per_video * self.clip_sampler.augs_per_clip

    def _candidates(self, requested: int, draws: np.random.Generator) -> Iterator[int]:
        """The video itself, then others drawn: half of the tries from those of its class."""
        yield requested
        label = self._labeled_videos[requested][1].get("label")
        alike = [n for n, (_, info) in enumerate(self._labeled_videos) if info.get("label") == label and n != requested]
        for attempt in range(MOST_TRIES):
            same_class = alike and label is not None and attempt < MOST_TRIES // 2
            yield alike[draws.integers(len(alike))] if same_class else int(draws.integers(self.num_videos))

    def _load(self, video_index: int, clip: int, seed: int) -> Sample:
        path, info = self._labeled_videos[video_index]
        if path in self._unreadable:
            raise VideoDecodeError(path, f"the index says: {self._unreadable[path]}")
        clip_index, aug_index = divmod(clip, self.clip_sampler.augs_per_clip)
        video = open_frames(path, self.modality, threads=self.threads)
        try:
            indices = self.clip_sampler.plan(seed, clip_index).indices(video)
            frames = video.frames_at(indices, self.size)
            keys = sample_keys(video, indices)
        finally:
            video.close()
        sample = {
            "video": frames.transpose(0, 1).to(checked_dtype(self.dtype)).contiguous(),
            "video_name": Path(path).name,
            "video_index": video_index,
            "clip_index": clip_index,
            "aug_index": aug_index,
            **info,
            **keys,
        }
        transformed = sample if self.transform is None else self.transform(sample)
        if transformed is None:
            raise VideoDecodeError(path, "the transform rejected it")
        return transformed


class EpochsOf:
    """Tells a data set which epoch it is.

    Args:
        dataset: that is told.
    """

    def __init__(self, dataset: SparseVideoDataset):
        self.dataset = dataset

    def set_epoch(self, epoch: int) -> None:
        self.dataset.set_epoch(epoch)


def _as_list(videos: Sequence[tuple[str, Mapping[str, Any]]] | VideoList | str | os.PathLike[str]) -> VideoList:
    if isinstance(videos, VideoList):
        return videos
    if isinstance(videos, (str, os.PathLike)):
        return read_videos(videos)
    return VideoList([(os.fspath(path), dict(info)) for path, info in videos])


def _unreadable(index: str | os.PathLike[str] | Mapping[str, IndexRecord] | None) -> dict[str, str]:
    records = read_index(index) if isinstance(index, (str, os.PathLike)) else index or {}
    return {path: record.error for path, record in records.items() if record.error is not None}
