"""Segments of clips that a stock decoder of the host gave: a list of short clips, or one dense clip."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pv_sparse.data.rules import get_rule
from pv_sparse.data.segments import segment_indices
from pv_sparse.transforms.resizing import check_clip


class ConcatSegments(nn.Module):
    """Join the clips of a multi-clip sample of the host (`make_clip_sampler("random_multi", ...)`) into one.

    Samples then collate: `clip_index` and `aug_index`, lists there, become the first clip's integers, and `audio` goes
    where a clip has none (the host gives a list of None even when audio is not decoded). Samples of single clips pass
    unchanged.

    Args:
        video_key: of the list of clips in the sample.
        frames_per_segment: keep so many first frames of each clip, a short one repeating its last: windows of equal
            seconds do not all hold the same number of frames. None keeps them all.
    """

    def __init__(self, video_key: str = "video", frames_per_segment: int | None = None):
        super().__init__()
        if frames_per_segment is not None and frames_per_segment < 1:
            raise ValueError(f"frames_per_segment={frames_per_segment} is not allowed: it must be at least 1")
        self.video_key = video_key
        self.frames_per_segment = frames_per_segment

    def forward(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """A sample with n clips, each (C, t, H, W) -> a new sample with one, (C, n*t, H, W), first clip first.

        Raises:
            ValueError: no such key, or a list without clips.
        """
        clips = get_video(sample, self.video_key)
        if isinstance(clips, Tensor):
            return dict(sample)
        if not clips:
            raise ValueError(f"the sample's {self.video_key!r} is a list without clips")
        joined = {**sample, self.video_key: torch.cat([self._cut(clip) for clip in clips], dim=1)}
        firsts = {key: sample[key][0] for key in ("clip_index", "aug_index") if isinstance(sample.get(key), list)}
        return _without_silence({**joined, **firsts})

    def _cut(self, clip: Tensor) -> Tensor:
        check_clip(clip, "ConcatSegments")
        if self.frames_per_segment is None or clip.shape[1] == self.frames_per_segment:
            return clip
        indices = torch.arange(self.frames_per_segment, device=clip.device)
        return clip.index_select(1, indices.clamp(max=clip.shape[1] - 1))

    def extra_repr(self) -> str:
        return f"{self.video_key!r}, frames_per_segment={self.frames_per_segment}"


class SegmentSubsample(nn.Module):
    """Of a dense clip, the frames that `segment_indices` would take of a video of its length.

    For clips of the host's stock decoders, in the place of `UniformTemporalSubsample`. With `SparseVideoPathHandler`
    only those frames are decoded in the first place.

    Args:
        num_segments: S, at least 1.
        frames_per_segment: L, consecutive frames in each segment, at least 1.
        rule: a name that `segment_indices` knows, other than the `motion` rules; random rules draw from torch's global
            generator.
        short: what stands for frames past the end, as `segment_indices` has it; None is the rule's own.
    """

    def __init__(self, num_segments: int, frames_per_segment: int = 1, rule: str = "center", short: str | None = None):
        super().__init__()
        if get_rule(rule).by_motion:
            raise ValueError(f"rule={rule!r} goes by the file's packets, which a clip lacks: choose center or random")
        # A wrong count or policy is told now, and not in a worker.
        long_enough = max(1, num_segments) + max(1, frames_per_segment)
        segment_indices(long_enough, num_segments, frames_per_segment, rule, torch.Generator(), short)
        self.num_segments = num_segments
        self.frames_per_segment = frames_per_segment
        self.rule = rule
        self.short = short

    def forward(self, clip: Tensor) -> Tensor:
        """(C, T, H, W) -> (C, S*L, H, W), of the same dtype; views * S * L frames for rules with views.

        Raises:
            ValueError: another shape, or a short clip under `short="error"`.
        """
        check_clip(clip, "SegmentSubsample")
        indices = segment_indices(
            clip.shape[1], self.num_segments, self.frames_per_segment, self.rule, short=self.short
        )
        return clip.index_select(1, indices.flatten().to(clip.device))

    def extra_repr(self) -> str:
        return f"{self.num_segments}, {self.frames_per_segment}, rule={self.rule!r}"


def get_video(sample: Mapping[str, Any], key: str) -> Any:
    """The sample's clip, or list of clips; `ValueError` says which keys there are."""
    if not isinstance(sample, Mapping):
        raise ValueError(
            f"a {type(sample).__name__} was given where a sample (a dict) is taken: give clips to a transform with "
            "video_key=None"
        )
    if key not in sample:
        raise ValueError(f"the sample has no {key!r}: it has {', '.join(map(repr, sample))}; choose another video_key")
    return sample[key]


def _without_silence(sample: dict[str, Any]) -> dict[str, Any]:
    audio = sample.get("audio", ())
    if isinstance(audio, list) and any(part is None for part in audio):
        del sample["audio"]
    return sample
