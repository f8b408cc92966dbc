"""Something-Something v2 and Charades stored as pictures: the host's names, arguments and lists, read by ours.

The host's own classes need OpenCV, are empty from the second epoch on, and each of their workers draws another order of
the videos; these are `LabeledVideoDataset`s and have none of that.
"""

import csv
import functools
import itertools
import json
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from iopath.common.file_io import g_pathmgr
from pytorchvideo.data import LabeledVideoDataset
from pytorchvideo.data.clip_sampling import ClipSampler
from torch.utils.data import RandomSampler, Sampler

from pv_sparse.data.factories import sparse_decoding
from pv_sparse.data.frame_lists import ListedVideo, ListedVideos
from pv_sparse.errors import PvSparseError

Transform = Callable[[dict[str, Any]], Any]


class SSv2(LabeledVideoDataset):
    """Something-Something v2 as pictures.

    Samples have the host's keys, those of `SegmentClipSampler`, and as `video_name` the folder of the frames. As in the
    host, a sampler that is not ours has its times ignored: its clip spans the video.

    Args:
        label_name_file: JSON, a template's name -> its label (`something-something-v2-labels.json`).
        video_label_file: JSON, a list of `{"id": ..., "template": ...}` (`something-something-v2-train.json`).
        video_path_label_file: the frames, a line each, under the header `original_vido_id video_id frame_id path
            labels`, with spaces between. Videos that it does not have are left out.
        clip_sampler: ours, which says itself which frames, or one of the host's.
        video_sampler: the order of the videos, as in the host.
        transform: of each sample.
        video_path_prefix: before each path.
        frames_per_clip: how many frames a sampler that is not ours gives, one from each of as many segments, as the
            host chooses them; None gives all.
        rand_sample_frames: draw them, from torch's global generator, instead of taking the middle.

    Raises:
        PvSparseError: a list without these columns, without videos, or with a template that has no label.
    """

    def __init__(
        self,
        label_name_file: str,
        video_label_file: str,
        video_path_label_file: str,
        clip_sampler: ClipSampler,
        video_sampler: type[Sampler[int]] = RandomSampler,
        transform: Transform | None = None,
        video_path_prefix: str = "",
        frames_per_clip: int | None = None,
        rand_sample_frames: bool = False,
    ):
        choose = functools.partial(_segment_frames, count=frames_per_clip, is_random=rand_sample_frames)
        frames = _read_frames(video_path_label_file, video_path_prefix)
        labels = _read_templates(label_name_file, video_label_file)
        videos = [
            ListedVideo([frame.path for frame in frames[name]], {"label": label}, choose)
            for name, label in labels
            if name in frames
        ]
        _check_videos(videos, video_label_file)
        super().__init__(ListedVideos(videos), clip_sampler, video_sampler, transform, decode_audio=False)
        sparse_decoding(self)


class Charades(LabeledVideoDataset):
    """Charades as pictures.

    Samples have the host's keys: `label`, the labels of each frame from the clip's first to its last, and
    `video_label`, all of the video; those of `SegmentClipSampler`; and as `video_name` the folder of the frames.

    Args:
        data_path: the frames, as `SSv2` has them; `labels` are numbers with commas between.
        clip_sampler: ours, which says itself which frames, or one of the host's.
        video_sampler: the order of the videos, as in the host.
        transform: of each sample.
        video_path_prefix: before each path.
        frames_per_clip: how many frames a sampler that is not ours gives, evenly spread over its times; None gives all.

    Raises:
        PvSparseError: a list without these columns, or without videos.
    """

    NUM_CLASSES = 157

    def __init__(
        self,
        data_path: str,
        clip_sampler: ClipSampler,
        video_sampler: type[Sampler[int]] = RandomSampler,
        transform: Transform | None = None,
        video_path_prefix: str = "",
        frames_per_clip: int | None = None,
    ):
        choose = functools.partial(_even_frames, count=frames_per_clip)
        videos = []
        for frames in _read_frames(data_path, video_path_prefix).values():
            labels = [frame.labels for frame in frames]
            video_label = sorted(set(itertools.chain(*labels)))
            videos.append(ListedVideo([frame.path for frame in frames], {"video_label": video_label}, choose, labels))
        _check_videos(videos, data_path)
        super().__init__(ListedVideos(videos), clip_sampler, video_sampler, transform, decode_audio=False)
        sparse_decoding(self)


class _Frame(NamedTuple):
    path: str
    labels: list[int]


def _read_frames(list_path: str, prefix: str) -> dict[str, list[_Frame]]:
    """The frames of each video, in the order of the list."""
    frames = defaultdict(list)
    with g_pathmgr.open(list_path, "r") as file:
        for row in csv.DictReader(file, delimiter=" "):
            try:
                path, labels = row["path"], row["labels"].replace('"', "")
                frame = _Frame(os.path.join(prefix, path), [int(label) for label in labels.split(",") if label])
                frames[row["original_vido_id"]].append(frame)
            except (KeyError, AttributeError, ValueError) as error:
                raise PvSparseError(
                    f"{list_path}: a line reads {row}; the columns are original_vido_id video_id frame_id path labels, "
                    "with one space between"
                ) from error
    return frames


def _read_templates(label_name_file: str, video_label_file: str) -> list[tuple[str, int]]:
    """Each video's id and label."""
    with g_pathmgr.open(label_name_file, "r") as file:
        label_of = json.load(file)
    with g_pathmgr.open(video_label_file, "r") as file:
        templates = [(video["id"], video["template"].replace("[", "").replace("]", "")) for video in json.load(file)]
    unknown = {template for _, template in templates} - set(label_of)
    if unknown:
        raise PvSparseError(f"{video_label_file}: no label in {label_name_file} for {sorted(unknown)[0]!r}")
    return [(name, int(label_of[template])) for name, template in templates]


def _check_videos(videos: Sequence[ListedVideo], list_path: str) -> None:
    if not videos:
        raise PvSparseError(f"{list_path}: no video of it has frames in the list of frames")


def _segment_frames(num_frames: int, window: range, count: int | None, is_random: bool) -> Sequence[int]:
    """The host's choice in SSv2, whose neighbouring segments have their bounds in common."""
    if count is None:
        return range(num_frames)
    step = (num_frames - 1) / count
    segments = itertools.pairwise(round(step * i) for i in range(count + 1))
    return [int(torch.randint(low, high + 1, ())) if is_random else (low + high) // 2 for low, high in segments]


def _even_frames(num_frames: int, window: range, count: int | None) -> Sequence[int]:
    """The host's choice in Charades."""
    if count is None or not window:
        return window
    return [window[int(place)] for place in torch.linspace(0, len(window) - 1, count)]
