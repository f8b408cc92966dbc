"""Selectors: what each frame of a video is worth to look at, found out at little cost."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pv_sparse.data.guided import motion_weights
from pv_sparse.data.segment_plan import FrameSource, Selector
from pv_sparse.data.selection import (
    NUM_LOOKS,
    frame_weights,
    glance_indices,
    mixed_with_even,
    novelty,
    share_throughout,
)

EVEN_SHARE = 0.25
# A scorer that was trained errs less, and says itself where frames should be even.
SALIENCY_EVEN_SHARE = 0.1
# Shares are squared: of a long video a scorer gives half of all to many looks, of which each counts little.
CONTRAST = 2.0
LOOK_SIZE = 64
# Rows and columns that a look is averaged to, where looks are compared.
THUMBNAIL = 8


class Glance(NamedTuple):
    """Cheap looks at a video: `indices` (K,) int64, `times` (K,) in [0, 1], and `looks` (K, C, size, size) uint8."""

    indices: Tensor
    times: Tensor
    looks: Tensor


class Scorer(Protocol):
    """What tells which looks count: `pv_sparse.models.selection.LookScorer`."""

    size: int

    def __call__(self, looks: Tensor, times: Tensor) -> Tensor:
        """(N, K, 3, size, size) uint8 and (N, K) in [0, 1] to logits (N, K)."""


@dataclass(frozen=True)
class Even:
    """All frames alike: what the others are measured against. Nothing is read."""

    def weights(self, video: FrameSource, num_segments: int) -> None:
        return None


@dataclass(frozen=True)
class Motion:
    """By the bytes that frames take in the file: where the picture changes, encoders spend them. Nothing is decoded.

    What counts is how much more than half of the frames take, which is noise, and what every frame costs. The rule
    `motion` counts all bytes, and has no even share. Folders of pictures and arrays of frames have no such sizes, and
    are sampled evenly.

    Args:
        even_share: of the weight, in [0, 1], that every frame has alike.
    """

    even_share: float = EVEN_SHARE

    def __post_init__(self) -> None:
        _check_share(self.even_share)

    def weights(self, video: FrameSource, num_segments: int) -> np.ndarray | None:
        sizes, keyframes = video.packets
        if not len(sizes):
            return None
        weights = motion_weights(sizes, keyframes)
        return mixed_with_even((weights - np.median(weights)).clip(min=0), self.even_share)


@dataclass(frozen=True)
class Diverse:
    """The looks that are farthest from each other, as pictures of 8x8 pixels: as many as there are segments.

    Each counts for the frames around it, and by its distance to the others: what a video repeats counts little.

    Args:
        even_share: of the weight, in [0, 1], that every frame has alike.
        num_looks: at most so many frames are decoded for it, small.
    """

    even_share: float = EVEN_SHARE
    num_looks: int = NUM_LOOKS

    def __post_init__(self) -> None:
        _check_share(self.even_share)
        _check_looks(self.num_looks)

    def weights(self, video: FrameSource, num_segments: int) -> np.ndarray:
        seen = glance(video, max(self.num_looks, num_segments), LOOK_SIZE)
        scores = novelty(_thumbnails(seen.looks), num_segments)
        return mixed_with_even(frame_weights(scores, seen.indices, video.num_frames), self.even_share)


@dataclass(frozen=True)
class Saliency:
    """The looks that a trained scorer holds to show what the video is of, each by its share of all.

    The more looks count, the more even are the frames: a trimmed video, which shows its subject throughout, is sampled
    as without a selector (`share_throughout`).

    Args:
        scorer: on the CPU and in eval mode, of `load_scorer` or `train_scorer`.
        even_share: of the weight, in [0, 1], at least so much that every frame has alike.
        num_looks: at most so many frames are decoded for it, small.

    Raises:
        ValueError: numbers outside of that.
    """

    scorer: Scorer
    even_share: float = SALIENCY_EVEN_SHARE
    num_looks: int = NUM_LOOKS

    def __post_init__(self) -> None:
        _check_share(self.even_share)
        _check_looks(self.num_looks)

    @torch.inference_mode()
    def weights(self, video: FrameSource, num_segments: int) -> np.ndarray:
        """`ValueError` for frames that are not RGB."""
        seen = glance(video, self.num_looks, self.scorer.size)
        shares = (CONTRAST * self.scorer(seen.looks[None], seen.times[None])[0]).softmax(dim=0)
        even_share = self.even_share + (1 - self.even_share) * share_throughout(shares)
        return mixed_with_even(frame_weights(shares, seen.indices, video.num_frames), even_share)


SELECTORS = {"even": Even, "motion": Motion, "diverse": Diverse}
# Of weights that have a scorer of their own.
SALIENCY = "saliency"


def get_selector(select: str | Selector) -> Selector:
    """The selector of this name, or the one given; `ValueError` lists the names there are."""
    if hasattr(select, "weights"):
        return select
    if select == SALIENCY:
        raise ValueError(
            "select='saliency' needs a scorer that was trained: give pv_sparse.load_selector(weights) of weights that "
            "have one (pv-sparse train +select=saliency makes them), or another selector"
        )
    if select not in SELECTORS:
        raise ValueError(
            f"select={select!r} is unknown: choose one of {', '.join([*SELECTORS, SALIENCY])}, or give a selector"
        )
    return SELECTORS[select]()


def glance(video: FrameSource, num_looks: int, size: int) -> Glance:
    """Look at up to `num_looks` frames that cost little, scaled to `size` pixels each side; of flow, (K, 2, ...)."""
    indices = glance_indices(video.num_frames, video.packets, num_looks)
    times = (indices + 0.5) / video.num_frames
    return Glance(indices, times.to(torch.float32), video.frames_at(indices, (size, size)))


def _thumbnails(looks: Tensor) -> Tensor:
    """(K, C, H, W) uint8 -> (K, C * 64) float32 in [0, 1]."""
    return F.adaptive_avg_pool2d(looks.to(torch.float32) / 255, THUMBNAIL).flatten(1)


def _check_looks(num_looks: int) -> None:
    if num_looks < 1:
        raise ValueError(f"num_looks={num_looks} is not allowed: it must be at least 1")


def _check_share(even_share: float) -> None:
    if not 0 <= even_share <= 1:
        raise ValueError(f"even_share={even_share} is not allowed: it must be from 0 to 1")
