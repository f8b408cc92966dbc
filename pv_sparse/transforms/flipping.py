"""Mirroring clips, optical flow too."""

import torch
from torch import Tensor, nn

from pv_sparse.transforms.resizing import check_clip


class RandomClipFlip(nn.Module):
    """Mirror left and right, the whole clip or none of it.

    Optical flow is known by its 2 channels. Use it before normalising. Where left and right make the class (Something-
    Something), choose p=0.

    Args:
        p: the chance of a flip, 0 to 1.
    """

    def __init__(self, p: float = 0.5):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p={p} is not allowed: a chance is from 0 to 1")
        self.p = p

    def forward(self, clip: Tensor) -> Tensor:
        """(C, T, H, W), uint8 or float, 0 to 255 -> the same shape and dtype; the clip itself where nothing is done."""
        check_clip(clip, "RandomClipFlip")
        return flip_clip(clip) if torch.rand(()) < self.p else clip

    def extra_repr(self) -> str:
        return f"p={self.p}"


def flip_clip(clip: Tensor) -> Tensor:
    """(C, T, H, W), uint8 or float, 0 to 255 -> mirrored left to right; in flow, with 2 channels, x becomes 255 - x.

    tsn-pytorch's `GroupRandomHorizontalFlip`. 255 - x maps no motion, 128, to 127, as there.
    """
    check_clip(clip, "flip_clip")
    flipped = clip.flip(-1)
    if len(clip) == 2:
        flipped[0] = 255 - flipped[0]
    return flipped
