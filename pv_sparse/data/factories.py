"""The host's data sets with our decoder: the same names, the same arguments, the same samples.

`decode_audio` and `decoder` are taken, since programs pass them, and not used: audio is not decoded, and the decoder is
ours. The data sets can be sent to spawned workers, which those of the host cannot in random order.
"""

import csv
import json
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from iopath.common.file_io import g_pathmgr
from pytorchvideo.data import LabeledVideoDataset
from pytorchvideo.data import hmdb51 as host_hmdb51
from pytorchvideo.data.clip_sampling import ClipSampler
from pytorchvideo.data.labeled_video_dataset import labeled_video_dataset as host_dataset
from torch.utils.data import RandomSampler, Sampler

from pv_sparse.data.clip_sampling import SegmentClipSampler
from pv_sparse.data.encoded_video import SparseVideoPathHandler
from pv_sparse.data.frame_lists import FrameListHandler
from pv_sparse.errors import PvSparseError

CHARADES_CLASSES = 157

Transform = Callable[[dict[str, Any]], Any] | None
Order = type[Sampler[int]]
HostDataset = TypeVar("HostDataset", bound=LabeledVideoDataset)


class SendableGenerator(torch.Generator):
    """A generator that is sent to another process by its seed; torch's own cannot be sent to spawned workers."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _generator_of, (self.initial_seed(),)


def _generator_of(seed: int) -> SendableGenerator:
    generator = SendableGenerator()
    generator.manual_seed(seed)
    return generator


def sparse_decoding(dataset: HostDataset, dtype: str = "float32") -> HostDataset:
    """Have a data set of the host decode with ours, in workers of every kind; returns the same data set.

    Args:
        dataset: a `LabeledVideoDataset`, however it was made.
        dtype: of clips, as in `SparseVideoPathHandler`.
    """
    dataset.video_path_handler = SparseVideoPathHandler(dtype)
    make_sendable(dataset)
    return dataset


def make_sendable(dataset: LabeledVideoDataset) -> None:
    """Give its random order a generator that can be sent to spawned workers. The host seeds it there, alike in all."""
    generator = dataset._video_random_generator
    if generator is None or isinstance(generator, SendableGenerator):
        return
    dataset._video_random_generator = _generator_of(generator.initial_seed())
    dataset.video_sampler.generator = dataset._video_random_generator


def labeled_video_dataset(
    data_path: str,
    clip_sampler: ClipSampler,
    video_sampler: Order = RandomSampler,
    transform: Transform = None,
    video_path_prefix: str = "",
    decode_audio: bool = False,
    decoder: str = "sparse",
) -> LabeledVideoDataset:
    """A list of `path label` lines, or a folder of class folders, as the host's function of this name."""
    arguments = (data_path, clip_sampler, video_sampler, transform, video_path_prefix, decode_audio)
    return sparse_decoding(host_dataset(*arguments, decoder=decoder))


def Kinetics(  # noqa: N802 (the host's name)
    data_path: str,
    clip_sampler: ClipSampler,
    video_sampler: Order = RandomSampler,
    transform: Transform = None,
    video_path_prefix: str = "",
    decode_audio: bool = False,
    decoder: str = "sparse",
) -> LabeledVideoDataset:
    """Kinetics, as the host's function of this name: `labeled_video_dataset`."""
    return labeled_video_dataset(
        data_path, clip_sampler, video_sampler, transform, video_path_prefix, decode_audio, decoder
    )


def Ucf101(  # noqa: N802
    data_path: str,
    clip_sampler: ClipSampler,
    video_sampler: Order = RandomSampler,
    transform: Transform = None,
    video_path_prefix: str = "",
    decode_audio: bool = False,
    decoder: str = "sparse",
) -> LabeledVideoDataset:
    """UCF101, as the host's function of this name: `labeled_video_dataset`."""
    return labeled_video_dataset(
        data_path, clip_sampler, video_sampler, transform, video_path_prefix, decode_audio, decoder
    )


def Hmdb51(  # noqa: N802
    data_path: str | os.PathLike[str],
    clip_sampler: ClipSampler,
    video_sampler: Order = RandomSampler,
    transform: Transform = None,
    video_path_prefix: str = "",
    split_id: int = 1,
    split_type: str = "train",
    decode_audio: bool = False,
    decoder: str = "sparse",
) -> LabeledVideoDataset:
    """HMDB51 by its split files, as the host's function of this name. A label is the name of the class, as there."""
    dataset = host_hmdb51.Hmdb51(
        Path(data_path),
        clip_sampler,
        video_sampler,
        transform,
        video_path_prefix,
        split_id,
        split_type,
        decode_audio,
        decoder,
    )
    return sparse_decoding(dataset)


def SSv2(  # noqa: N802
    label_name_file: str,
    video_label_file: str,
    video_path_label_file: str,
    clip_sampler: ClipSampler,
    video_sampler: Order = RandomSampler,
    transform: Transform = None,
    video_path_prefix: str = "",
    frames_per_clip: int | None = None,
    rand_sample_frames: bool = False,
) -> LabeledVideoDataset:
    """Something-Something v2 as pictures, from the host's three files, without OpenCV, in every epoch.

    Args:
        frames_per_clip: where given, so many frames, one from each segment, instead of what `clip_sampler` says. The
            host's segments overlap by a frame; these do not.
        rand_sample_frames: draws them at random, else their middles.
    """
    pictures = _pictures_by_video(_frame_rows(video_path_label_file), video_path_prefix)
    numbers = json.loads(_text(label_name_file))
    samples = []
    for video in json.loads(_text(video_label_file)):
        template = video["template"].replace("[", "").replace("]", "")
        if template not in numbers:
            raise PvSparseError(f"{video_label_file}: the template {template!r} is not in {label_name_file}")
        if video["id"] in pictures:
            samples.append((video["id"], {"label": int(numbers[template])}))
    if frames_per_clip is not None:
        clip_sampler = SegmentClipSampler(frames_per_clip, rule="random" if rand_sample_frames else "center")
    return _of_frame_lists(samples, pictures, clip_sampler, video_sampler, transform)


def Charades(  # noqa: N802
    data_path: str,
    clip_sampler: ClipSampler,
    video_sampler: Order = RandomSampler,
    transform: Transform = None,
    video_path_prefix: str = "",
    frames_per_clip: int | None = None,
) -> LabeledVideoDataset:
    """Charades as pictures, from the host's file, without OpenCV, in every epoch.

    `video_label` and `label` are (157,) float32, 1.0 for each class of the video: the host's lists of numbers have
    another length for each video, which no batch can hold.

    Args:
        frames_per_clip: where given, so many frames, evenly spaced from the first to the last, as the host's.
    """
    rows = _frame_rows(data_path)
    pictures = _pictures_by_video(rows, video_path_prefix)
    labels = {name: torch.zeros(CHARADES_CLASSES) for name in pictures}
    for row in rows:
        for number in row["labels"].replace('"', "").split(","):
            if number:
                labels[row["original_vido_id"]][int(number)] = 1.0
    samples = [(name, {"label": label, "video_label": label}) for name, label in labels.items()]
    if frames_per_clip is not None:
        clip_sampler = SegmentClipSampler(frames_per_clip, rule="uniform")
    return _of_frame_lists(samples, pictures, clip_sampler, video_sampler, transform)


def _of_frame_lists(
    samples: list[tuple[str, dict[str, Any]]],
    pictures: dict[str, list[str]],
    clip_sampler: ClipSampler,
    video_sampler: Order,
    transform: Transform,
) -> LabeledVideoDataset:
    dataset = LabeledVideoDataset(samples, clip_sampler, video_sampler, transform, decode_audio=False)
    dataset.video_path_handler = FrameListHandler(pictures)
    make_sendable(dataset)
    return dataset


def _frame_rows(path: str) -> list[dict[str, str]]:
    """original_vido_id (so spelled), video_id, frame_id, path, labels, separated by spaces."""
    rows = list(csv.DictReader(_text(path).splitlines(), delimiter=" ", quoting=csv.QUOTE_NONE))
    if not rows or not {"original_vido_id", "path", "labels"} <= set(rows[0]):
        raise PvSparseError(f"{path}: its first line must be: original_vido_id video_id frame_id path labels")
    return rows


def _pictures_by_video(rows: list[dict[str, str]], prefix: str) -> dict[str, list[str]]:
    pictures: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        pictures[row["original_vido_id"]].append(os.path.join(prefix, row["path"]))
    return dict(pictures)


def _text(path: str) -> str:
    with g_pathmgr.open(path, "r") as file:
        return file.read()
