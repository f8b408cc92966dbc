"""RGB difference, a modality between RGB and optical flow."""

from torch import Tensor, nn


class TemporalDifference(nn.Module):
    """RGB difference: in each segment, every frame less the one before it.

    The model's first convolution then reads a segment's differences one after another, each with its channels, as
    yjxiong/tsn-pytorch does. That normalises at test and not in training, and differently for each frame where the
    standard deviations are not 1; here normalisation is a transform of its own, before or after, and the same always.

    Args:
        frames_per_segment: of the clip; one difference fewer comes out. The originals have 6.
    """

    def __init__(self, frames_per_segment: int = 6):
        super().__init__()
        if frames_per_segment < 2:
            raise ValueError(f"frames_per_segment={frames_per_segment} is not allowed: a difference needs 2 frames")
        self.frames_per_segment = frames_per_segment

    def forward(self, clip: Tensor) -> Tensor:
        """(C, S*L, H, W), uint8 or float -> (C, S*(L-1), H, W), float; `ValueError` for another number of frames."""
        if clip.ndim != 4 or clip.shape[1] % self.frames_per_segment:
            raise ValueError(
                f"a clip of shape {tuple(clip.shape)} was given; TemporalDifference takes (C, T, H, W) with T a "
                f"multiple of frames_per_segment={self.frames_per_segment}"
            )
        values = clip if clip.is_floating_point() else clip.float()
        segments = values.reshape(len(clip), -1, self.frames_per_segment, *clip.shape[2:])  # (C, S, L, H, W)
        return segments.diff(dim=2).flatten(1, 2)
