"""What a scorer of looks learns from: cheap looks at videos, and how much of the true class a model saw there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pv_sparse.data.annotations import VideoList
from pv_sparse.data.label_tables import UNLABELLED
from pv_sparse.data.opening import open_frames
from pv_sparse.data.selectors import Glance, glance
from pv_sparse.errors import PvSparseError, one_line
from pv_sparse.looking import Viewer
from pv_sparse.models.logits import Logits
from pv_sparse.models.segment_net import SegmentNet
from pv_sparse.moments import moments_of
from pv_sparse.zoo.weights import Weights

# A moment that the model is half as sure of counts a quarter: without this, the many moments in which nothing happens
# would together outweigh the few that count.
SHARPNESS = 2.0


@dataclass(frozen=True)
class Lesson:
    """Of one video: `looks` (K, 3, size, size) uint8; `times` (K,) in [0, 1] and `shares` (K,) of sum 1, float32."""

    looks: Tensor
    times: Tensor
    shares: Tensor


def lessons_from(
    model: SegmentNet,
    weights: Weights,
    videos: VideoList,
    *,
    size: int,
    num_looks: int,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Lesson]:
    """A lesson from each video that can be read.

    Args:
        model: the recogniser, in eval mode.
        weights: its record.
        videos: with labels, in the numbers of the weights; of several tasks -1 where there is none.
        size, num_looks: of the looks.
        tell: called with what happens, in one line.

    Raises:
        PvSparseError: no video can be read.
        WeightsError: a model that reads optical flow.
    """
    viewer = Viewer(weights)
    lessons: list[Lesson] = []
    for number, (path, info) in enumerate(videos.samples, 1):
        try:
            lessons.append(_lesson(model, viewer, path, info["label"], size, num_looks))
        except (PvSparseError, OSError) as error:
            tell(f"left out: {one_line(error)}")
        if number % 100 == 0 and number < len(videos):
            tell(f"looked at {number} of {len(videos)} videos")
    if not lessons:
        raise PvSparseError(f"of {len(videos)} videos none can be read: there is nothing for a scorer to learn from")
    return lessons


def log_probability(logits: Logits, label: Any) -> Tensor:
    """(W, num_classes) -> (W,): of the true class, the mean over tasks with one, or over all classes that are right."""
    if isinstance(logits, dict):
        known = [log_probability(own, label[task]) for task, own in logits.items() if label[task] != UNLABELLED]
        return torch.stack(known).mean(dim=0)
    if isinstance(label, Sequence):
        return F.logsigmoid(logits[:, list(label)]).mean(dim=1)
    return logits.log_softmax(dim=1)[:, label]


def shares(values: Tensor) -> Tensor:
    """Log probabilities (K,) -> (K,) float32 of sum 1: what each look counts."""
    return (SHARPNESS * values).softmax(dim=0)


def _lesson(model: SegmentNet, viewer: Viewer, path: str, label: Any, size: int, num_looks: int) -> Lesson:
    video = open_frames(path)
    try:
        seen: Glance = glance(video, num_looks, size)
        moments = moments_of(model, viewer, video)
    finally:
        video.close()
    values = log_probability(moments.logits, label)
    nearest = (seen.indices[:, None] - moments.middles).abs().argmin(dim=1)
    return Lesson(seen.looks, seen.times, shares(values[nearest]))
