"""SegmentNet: a 2-D network sees each segment, a head reads them together. The head makes the family."""

from torch import Tensor, nn


class SegmentNet(nn.Module):
    """A backbone over segments and a head over its maps.

    Args:
        backbone: from (N*S, L*C, H, W) to a tuple of maps, one a tap, each (N*S, C', H', W').
        head: from the maps, each (N, S, C', H', W'), to logits (N, num_classes).
        frames_per_segment: L, the consecutive frames that are stacked into one input of the backbone.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, frames_per_segment: int = 1):
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.frames_per_segment = frames_per_segment

    def forward(self, video: Tensor) -> Tensor:
        """From (N, C, S*L, H, W), normalised floats, to logits (N, num_classes); `ValueError` for another shape."""
        maps = self.backbone(fold_segments(video, self.frames_per_segment))  # each (N*S, C', H', W')
        maps = [m.reshape(len(video), -1, *m.shape[1:]) for m in maps]  # each (N, S, C', H', W')
        return self.head(*maps)  # (N, num_classes)


def fold_segments(video: Tensor, frames_per_segment: int = 1) -> Tensor:
    """(N, C, S*L, H, W) -> (N*S, L*C, H, W): the frames of a segment one after another, each with all its channels."""
    if video.ndim != 5:
        raise ValueError(
            f"a video of shape {tuple(video.shape)} was given; the model takes (N, C, T, H, W): "
            "put a single clip (C, T, H, W) in a batch with clip[None]"
        )
    num_frames = video.shape[2]
    if num_frames % frames_per_segment:
        raise ValueError(
            f"a video of {num_frames} frames was given to a model of {frames_per_segment} frames per segment: "
            f"their number must be a multiple of {frames_per_segment}"
        )
    n, c, _, h, w = video.shape
    segments = video.reshape(n, c, -1, frames_per_segment, h, w)  # (N, C, S, L, H, W)
    return segments.permute(0, 2, 3, 1, 4, 5).flatten(2, 3).flatten(0, 1)
