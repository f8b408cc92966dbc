"""What a model says of every moment of a video, each frame of which goes through its 2-D network once."""

from typing import NamedTuple

import torch
from torch import Tensor

from pv_sparse.data.segment_plan import FrameSource
from pv_sparse.looking import Viewer, look_at
from pv_sparse.models.logits import Logits, map_logits
from pv_sparse.models.segment_net import SegmentNet

NUM_MOMENTS = 64
# A model that reads several segments is shown them spread over so much of a video.
MOMENT_SHARE = 1 / 16
# Frames in their own size, and maps of moments, would fill the memory all at once.
FRAMES_AT_ONCE = 32
MOMENTS_AT_ONCE = 16


class Moments(NamedTuple):
    """Of W moments: `middles` (W,), numbers of frames, ascending; `logits` (W, num_classes), or a dict of them."""

    middles: Tensor
    logits: Logits


@torch.inference_mode()
def moments_of(model: SegmentNet, viewer: Viewer, video: FrameSource, num_moments: int = NUM_MOMENTS) -> Moments:
    """The logits for about `num_moments` moments, spread over the whole video.

    A TSN is shown one segment at a time. A model that was made for S segments is shown every S neighbours of at least
    16 S, a sixteenth of the video, so that neighbouring moments share most of their frames.

    Args:
        model: in eval mode, on any device.
        viewer: of its weights.
        video: open.
        num_moments: at least 1.

    Raises:
        VideoDecodeError: a frame that cannot be decoded.
        ValueError: `num_moments` below 1.
    """
    if num_moments < 1:
        raise ValueError(f"num_moments={num_moments} is not allowed: it must be at least 1")
    length = model.num_segments or 1
    count = num_moments if length == 1 else max(num_moments, round(length / MOMENT_SHARE))
    segments = viewer.segments(video, count)  # (count, L)
    maps = _maps(model, viewer, video, segments)
    starts = torch.arange(0, count - length + 1, max(1, count // num_moments))
    shown = starts[:, None] + torch.arange(length)  # (W, S)
    logits = [model.head(*[own[part] for own in maps]) for part in torch.split(shown, MOMENTS_AT_ONCE)]
    middles = segments.to(torch.float64).mean(dim=1)[shown].mean(dim=1)
    return Moments(middles, map_logits(lambda *each: torch.cat(each).float().cpu(), *logits))


def _maps(model: SegmentNet, viewer: Viewer, video: FrameSource, segments: Tensor) -> list[Tensor]:
    """By tap, (count, C', H', W')."""
    device = next(model.parameters()).device
    parts = []
    for some in torch.split(segments, max(1, FRAMES_AT_ONCE // segments.shape[1])):
        clip = viewer.clip(look_at(video, some.flatten()))
        parts.append([own[0] for own in model.maps(clip[None].to(device))])
    return [torch.cat(own) for own in zip(*parts, strict=True)]
