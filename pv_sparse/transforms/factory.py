"""Whole transforms by one call, for samples or for plain clips."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from pv_sparse.transforms.cropping import MultiScaleCrop
from pv_sparse.transforms.difference import TemporalDifference
from pv_sparse.transforms.evaluation import EvaluationTransform
from pv_sparse.transforms.flipping import RandomClipFlip
from pv_sparse.transforms.normalization import Normalization, NormalizeClip, get_normalization
from pv_sparse.transforms.segments import ConcatSegments, SegmentSubsample, get_video
from pv_sparse.transforms.views import TenCrop, ThreeCrop

MODES = ("train", "val", "test")


def create_sparse_video_transform(
    mode: str,
    video_key: str | None = "video",
    num_segments: int | None = None,
    *,
    frames_per_segment: int | None = None,
    rule: str | None = None,
    size: int = 224,
    resize: int = 256,
    normalization: str | Normalization = "imagenet",
    interpolation: str = "bilinear",
    scales: Sequence[float] = (1, 0.875, 0.75, 0.66),
    max_distort: int = 1,
    num_positions: int = 13,
    flip_probability: float = 0.5,
    num_crops: int = 10,
    invert_flow: bool = True,
    temporal_difference: bool = False,
) -> nn.Module:
    """The lineage's transform for training, validation or testing; the host's `create_video_transform` for segments.

    * `train`: `MultiScaleCrop`, `RandomClipFlip`, `NormalizeClip`.
    * `val`: `EvaluationTransform`: the shorter side to `resize`, one centre crop.
    * `test`: `TenCrop` or `ThreeCrop` after scaling to `resize`, `NormalizeClip`; views along time.

    Clips are (C, T, H, W), uint8 or float, 0 to 255; what comes out is float32 of `size` x `size` pixels. One set of
    arguments does for all three modes: those of another mode are not used.

    Args:
        mode: `train`, `val` or `test`.
        video_key: of the clip in dict samples, or of several clips, which are joined; other keys are kept. None takes
            and gives plain clips.
        num_segments: S of `SegmentSubsample`, for clips of a stock decoder; None keeps the frames there are, as
            `SegmentClipSampler` chose them.
        frames_per_segment: L of `SegmentSubsample`, where None is 1, and of `TemporalDifference`. Of several clips, so
            many first frames are kept of each, where None keeps all; as `ConcatSegments` does it.
        rule: of `SegmentSubsample`; None is `random` to train and `center` else.
        size: pixels of the sides of what comes out.
        resize: `val`, `test`: pixels of the shorter side before cropping.
        normalization: a name of `NORMALIZATIONS`, or a `Normalization`; those for flow take clips of 2 channels.
        interpolation: `bilinear` or `bicubic`.
        scales: `train`: as `MultiScaleCrop` has them, also the next two.
        max_distort: `train`.
        num_positions: `train`.
        flip_probability: `train`: 0 where left and right make the class.
        num_crops: `test`: 1, 3 or 10.
        invert_flow: `test`: of `TenCrop`.
        temporal_difference: give RGB differences, one fewer than `frames_per_segment` in each segment.

    Raises:
        ValueError: an unknown mode, or an argument that its transform refuses.
    """
    wanted = get_normalization(normalization)
    steps: list[nn.Module] = []
    if num_segments is not None:
        steps.append(SegmentSubsample(num_segments, frames_per_segment or 1, rule or _rule_of(mode)))
    if mode == "train":
        steps.append(MultiScaleCrop(size, scales, max_distort, num_positions, interpolation))
        steps += [RandomClipFlip(flip_probability), NormalizeClip(wanted)]
    elif mode == "val":
        steps.append(_centre_crop(size, resize, wanted, interpolation))
    elif mode == "test":
        steps += _test_steps(num_crops, size, resize, wanted, interpolation, invert_flow)
    else:
        raise ValueError(f"mode={mode!r} is unknown: choose one of {', '.join(MODES)}")
    if temporal_difference:
        steps.append(TemporalDifference(frames_per_segment or 1))
    transform = nn.Sequential(*steps)
    if video_key is None:
        return transform
    return SampleTransform(transform, video_key, frames_per_segment if num_segments is None else None)


class SampleTransform(nn.Module):
    """A transform of clips, applied to samples of the host; the sample that was given stays as it is.

    Args:
        transform: from a clip (C, T, H, W) to another.
        video_key: of the clip, or list of clips, in the sample.
        frames_per_segment: of `ConcatSegments`.
    """

    def __init__(self, transform: nn.Module, video_key: str = "video", frames_per_segment: int | None = None):
        super().__init__()
        self.concat = ConcatSegments(video_key, frames_per_segment)
        self.transform = transform
        self.video_key = video_key

    def forward(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """A sample with a clip, or several -> a new sample with one, transformed; `ValueError` without such a key."""
        joined = self.concat(sample)
        return {**joined, self.video_key: self.transform(get_video(joined, self.video_key))}


def _rule_of(mode: str) -> str:
    return "random" if mode == "train" else "center"


def _centre_crop(size: int, resize: int, wanted: Normalization, interpolation: str) -> nn.Module:
    return EvaluationTransform(
        resize, size, wanted.mean, wanted.std, wanted.value_range, wanted.channel_order, interpolation
    )


def _test_steps(
    num_crops: int, size: int, resize: int, wanted: Normalization, interpolation: str, invert_flow: bool
) -> list[nn.Module]:
    if num_crops == 1:
        return [_centre_crop(size, resize, wanted, interpolation)]
    if num_crops == 3:
        return [ThreeCrop(size, resize, interpolation), NormalizeClip(wanted)]
    if num_crops == 10:
        return [TenCrop(size, resize, interpolation, invert_flow), NormalizeClip(wanted)]
    raise ValueError(f"num_crops={num_crops} is not allowed: choose 1, 3 or 10")
