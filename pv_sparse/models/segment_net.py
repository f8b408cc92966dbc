"""SegmentNet: a 2-D network sees each segment, a head reads them together. The head makes the family."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from pv_sparse.models.logits import Logits, map_logits


class SegmentNet(nn.Module):
    """A backbone over segments and a head over its maps.

    Args:
        backbone: from (N*S, L*C, H, W) to a tuple of maps, one a tap, each (N*S, C', H', W').
        head: from the maps, each (N, S, C', H', W'), to logits (N, num_classes), or a dict of them by task.
        frames_per_segment: L, the consecutive frames that are stacked into one input of the backbone.
        num_segments: S that the head was made for, or is best at; None where any number is as good.
        activation: over the logits, in training too, as the host's `head_activation`; None gives logits.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        frames_per_segment: int = 1,
        num_segments: int | None = None,
        activation: nn.Module | None = None,
    ):
        super().__init__()
        if frames_per_segment < 1:
            raise ValueError(f"frames_per_segment={frames_per_segment} is not allowed: it must be at least 1")
        self.backbone = backbone
        self.head = head
        self.frames_per_segment = frames_per_segment
        self.num_segments = num_segments
        self.activation = activation

    def forward(self, video: Tensor) -> Logits:
        """From (N, C, S*L, H, W), normalised floats, to logits (N, num_classes); `ValueError` for another shape."""
        logits = self.head(*self.maps(video))
        return logits if self.activation is None else map_logits(self.activation, logits)

    def maps(self, video: Tensor) -> list[Tensor]:
        """(N, C, S*L, H, W) -> what the head reads: a map (N, S, C', H', W') for each tap."""
        images = fold_segments(video, self.frames_per_segment)  # (N*S, L*C, H, W)
        self._check(video)
        num_segments = video.shape[2] // self.frames_per_segment
        return [m.reshape(video.shape[0], num_segments, *m.shape[1:]) for m in self.backbone(images)]

    def explain(self, video: Tensor, **arguments: Any) -> Any:
        """Which segments speak for a class: `RelationHead.explain`, for models that have one."""
        explain: Callable[..., Any] | None = getattr(self.head, "explain", None)
        if explain is None:
            raise ValueError(f"a {type(self.head).__name__} cannot explain itself: create_trn makes models that can")
        if self.training:
            raise ValueError("the model is in training mode, where it answers at random: call model.eval() first")
        return explain(*self.maps(video), **arguments)

    def _check(self, video: Tensor) -> None:
        if not video.is_floating_point():
            raise ValueError(
                f"a video of {video.dtype} was given; the model takes normalised floats: transform it first"
            )
        taken = getattr(self.backbone, "in_channels", None)
        given = video.shape[1]
        if taken is not None and given * self.frames_per_segment != taken:
            raise ValueError(
                f"a video of {given} channels was given; the model takes {taken / self.frames_per_segment:g} "
                "(RGB and RGB difference have 3, flow has 2)"
            )


def fold_segments(video: Tensor, frames_per_segment: int = 1) -> Tensor:
    """(N, C, S*L, H, W) -> (N*S, L*C, H, W): the frames of a segment one after another, each with all its channels."""
    if video.ndim != 5:
        raise ValueError(
            f"a video of shape {tuple(video.shape)} was given; the model takes (N, C, T, H, W): "
            "put a single clip (C, T, H, W) in a batch with clip[None]"
        )
    num_frames = video.shape[2]
    if num_frames == 0 or num_frames % frames_per_segment:
        raise ValueError(
            f"a video of {num_frames} frames was given to a model of {frames_per_segment} frames per segment: "
            f"their number must be a multiple of {frames_per_segment}"
        )
    n, c, _, h, w = video.shape
    segments = video.reshape(n, c, num_frames // frames_per_segment, frames_per_segment, h, w)  # (N, C, S, L, H, W)
    return segments.permute(0, 2, 3, 1, 4, 5).flatten(2, 3).flatten(0, 1)
