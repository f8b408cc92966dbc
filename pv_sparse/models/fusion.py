"""Several models, one answer: ECO's ensemble over numbers of frames, and the late fusion of modalities.

Zolfaghari et al., ECCV 2018, section 4 (ECO_En: 16, 20, 24 and 32 frames, their scores averaged); Wang et al., ECCV
2016, section 3.2 (weights on the raw scores: 1 for RGB and RGB difference, 1.5 for flow, of which 1 : 0.5 is shared
with warped flow where there is both).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pv_sparse.models.eco import create_eco
from pv_sparse.models.host_words import accepts_host_words
from pv_sparse.models.logits import Logits, NumClasses, map_logits

FUSE = ("scores", "logits")


class FrameEnsemble(nn.Module):
    """Models for different numbers of frames, all fed from one set of frames.

    Args:
        models: each with `num_segments` and one frame a segment, and trained on the same classes.
    """

    def __init__(self, models: Sequence[nn.Module]):
        super().__init__()
        if not models:
            raise ValueError("models=[] is not allowed: give at least one")
        _check_logits(models)
        self.models = nn.ModuleList(models)
        self.num_frames = tuple(_frames_of(model) for model in models)
        self.num_segments = max(self.num_frames)

    def forward(self, video: Tensor) -> Logits:
        """(N, C, T, H, W), any T -> (N, num_classes): the logarithm of the mean of the models' scores.

        Each model takes its own number of frames, evenly spread over the T, the middle of each share. With T the
        largest of those numbers the others' frames are the nearest there are; with their least common multiple (480)
        they are exactly those that each would sample alone.
        """
        logits = [
            model(video[:, :, _even(video.shape[2], n)]) for model, n in zip(self.models, self.num_frames, strict=True)
        ]
        return _fused(logits, [1.0] * len(logits), "scores")


class LateFusion(nn.Module):
    """One model a modality, their answers weighted.

    Args:
        models: modality -> its model, such as `rgb`, `rgb_difference`, `flow`, `warped_flow`; of the same classes.
        weights: modality -> its weight; None is 1 for each. They are divided by their sum.
        fuse: `logits`, as the original TSN (there called scores), or `scores` (after softmax).
    """

    def __init__(
        self, models: Mapping[str, nn.Module], weights: Mapping[str, float] | None = None, fuse: str = "logits"
    ):
        super().__init__()
        if fuse not in FUSE:
            raise ValueError(f"fuse={fuse!r} is unknown: choose one of {', '.join(FUSE)}")
        weights = weights or dict.fromkeys(models, 1.0)
        if weights.keys() != models.keys() or min(weights.values(), default=0.0) <= 0:
            raise ValueError(f"weights={dict(weights)} are not allowed: give a positive one for each of {list(models)}")
        _check_logits([*models.values()])
        self.models = nn.ModuleDict(models)
        self.weights = dict(weights)
        self.fuse = fuse

    def forward(self, videos: Mapping[str, Tensor]) -> Logits:
        """Modality -> its video (N, C, T, H, W) -> logits (N, num_classes), whose softmax are the fused scores."""
        if not isinstance(videos, Mapping):
            raise ValueError(f"a {type(videos).__name__} was given: give a dict of videos of {sorted(self.models)}")
        if videos.keys() != self.models.keys():
            raise ValueError(f"videos of {sorted(videos)} were given: the models take {sorted(self.models)}")
        logits = [model(videos[modality]) for modality, model in self.models.items()]
        return _fused(logits, [self.weights[modality] for modality in self.models], self.fuse)


@accepts_host_words
def create_eco_ensemble(
    *, num_classes: NumClasses, num_segments: Sequence[int] = (16, 20, 24, 32), **arguments: Any
) -> FrameEnsemble:
    """ECO's ensemble: a `create_eco` for each number of frames, with weights of its own.

    Args:
        num_classes: the classes to tell apart.
        num_segments: the numbers of frames, each a multiple of 4.
        arguments: those of `create_eco`, for every one of them.

    Returns:
        From videos (N, C, T, H, W), any T, to logits (N, num_classes).
    """
    return FrameEnsemble([create_eco(num_classes=num_classes, num_segments=n, **arguments) for n in num_segments])


def _fused(logits: Sequence[Logits], weights: Sequence[float], fuse: str) -> Logits:
    def weighted(*each: Tensor) -> Tensor:
        parts = [values.log_softmax(dim=-1) if fuse == "scores" else values for values in each]
        shares = torch.tensor(weights, dtype=parts[0].dtype, device=parts[0].device) / sum(weights)
        stacked = torch.stack(parts, dim=-1)  # (N, num_classes, models)
        return (stacked + shares.log()).logsumexp(dim=-1) if fuse == "scores" else (stacked * shares).sum(dim=-1)

    return map_logits(weighted, *logits)


def _check_logits(models: Sequence[nn.Module]) -> None:
    if any(getattr(model, "activation", None) is not None for model in models):
        raise ValueError("a model with head_activation gives no logits, which are fused here: build it without")


def _even(num_frames: int, wanted: int) -> list[int]:
    return [(2 * i + 1) * num_frames // (2 * wanted) for i in range(wanted)]


def _frames_of(model: nn.Module) -> int:
    number = getattr(model, "num_segments", None)
    if not isinstance(number, int) or getattr(model, "frames_per_segment", 1) != 1:
        raise ValueError(
            f"a {type(model).__name__} without num_segments, or of several frames a segment, has no place in an "
            "ensemble over numbers of frames: give models of create_eco, create_eco_lite or create_trn"
        )
    return number
