"""From a path to what the model is shown, in two steps: bytes in a decoding process, floats where the model is.

Bytes travel between processes in a fifth of the time of normalised floats, and are exact: scaling and cropping keep
bytes, and normalisation comes after.
"""

import copy
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from pv_sparse.errors import one_line
from pv_sparse.looking import Viewer
from pv_sparse.transforms import EvaluationTransform, NormalizeClip
from pv_sparse.zoo.weights import Weights


@dataclass(frozen=True)
class Clip:
    """A video as it travels to the model.

    Attributes:
        pixels: (C, T, H, W) uint8, cropped, view after view.
        num_frames: of the whole video.
        frame_indices: the frames that were looked at.
        frame_times_seconds: when each is shown.
    """

    pixels: np.ndarray
    num_frames: int
    frame_indices: list[int]
    frame_times_seconds: list[float]


class ClipReader:
    """Reads the clips that a viewer wants; goes to other processes.

    Args:
        viewer: what is looked at.
    """

    def __init__(self, viewer: Viewer):
        self.viewer = viewer
        self._crop, _ = split_transform(viewer.weights, viewer.all_views)

    def read(self, path: str) -> Clip | str:
        """The clip of a video, or what is wrong with it, in one line."""
        try:
            look = self.viewer.look(path)
            pixels = self._crop(look.frames.transpose(0, 1)).contiguous().numpy()
            return Clip(pixels, look.num_frames, look.frame_indices, look.frame_times_seconds)
        except Exception as error:
            return one_line(error)


def clip_or_error(outcome: Clip | str | ChildProcessError) -> Clip | str:
    """What `ClipReader.read` gives, also where its process died."""
    return str(outcome) if isinstance(outcome, ChildProcessError) else outcome


def to_model(pixels: np.ndarray, normalize: nn.Module, device: str) -> Tensor:
    """(N, C, T, H, W) uint8 -> (N, C, T', H, W) normalised float32 on `device`; fewer frames of RGB difference."""
    return torch.stack([normalize(clip) for clip in torch.from_numpy(pixels).to(device)])


class _Untouched(NormalizeClip):
    """In place of a normalisation that is done elsewhere."""

    def forward(self, clip: Tensor) -> Tensor:
        return clip


def split_transform(weights: Weights, all_views: bool) -> tuple[nn.Module, nn.Module]:
    """The transform of the weights up to its bytes, and from there on; one after the other is the whole."""
    steps = list(cast(nn.Sequential, weights.transform(one_view=not all_views)))
    for number, step in enumerate(steps):
        if isinstance(step, NormalizeClip):
            return nn.Sequential(*steps[:number]), nn.Sequential(*steps[number:])
        if isinstance(step, EvaluationTransform):
            crop = copy.deepcopy(step)
            crop.normalize = _Untouched(step.normalize.normalization)
            return nn.Sequential(*steps[:number], crop), nn.Sequential(step.normalize, *steps[number + 1 :])
    raise ValueError(f"{weights.name}: its transform does not normalise: {weights.transform(one_view=not all_views)}")
