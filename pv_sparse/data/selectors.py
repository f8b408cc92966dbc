"""Selectors: what each frame of a video is worth to look at, found out at little cost."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pv_sparse.data.guided import motion_weights
from pv_sparse.data.segment_plan import FrameSource, Selector
from pv_sparse.data.selection import NUM_LOOKS, frame_weights, glance_indices, mixed_with_even, novelty

EVEN_SHARE = 0.25
LOOK_SIZE = 64
# Rows and columns that a look is averaged to, where looks are compared.
THUMBNAIL = 8


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
        if self.num_looks < 1:
            raise ValueError(f"num_looks={self.num_looks} is not allowed: it must be at least 1")

    def weights(self, video: FrameSource, num_segments: int) -> np.ndarray:
        indices = glance_indices(video.num_frames, video.packets, max(self.num_looks, num_segments))
        scores = novelty(_thumbnails(video.frames_at(indices, LOOK_SIZE)), num_segments)
        return mixed_with_even(frame_weights(scores, indices, video.num_frames), self.even_share)


SELECTORS = {"even": Even, "motion": Motion, "diverse": Diverse}


def get_selector(select: str | Selector) -> Selector:
    """The selector of this name, or the one given; `ValueError` lists the names there are."""
    if hasattr(select, "weights"):
        return select
    if select not in SELECTORS:
        raise ValueError(f"select={select!r} is unknown: choose one of {', '.join(SELECTORS)}, or give a selector")
    return SELECTORS[select]()


def _thumbnails(looks: Tensor) -> Tensor:
    """(K, C, H, W) uint8 -> (K, C * 64) float32 in [0, 1]."""
    return F.adaptive_avg_pool2d(looks.to(torch.float32) / 255, THUMBNAIL).flatten(1)


def _check_share(even_share: float) -> None:
    if not 0 <= even_share <= 1:
        raise ValueError(f"even_share={even_share} is not allowed: it must be from 0 to 1")
