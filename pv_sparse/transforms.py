"""From decoded frames to what a model takes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

CHANNEL_ORDERS = ("RGB", "BGR")
INTERPOLATIONS = ("bilinear", "bicubic")


class EvaluationTransform(nn.Module):
    """Scale the shorter side, crop the centre, normalise: the same for every frame, nothing random.

    A clip of the host (float) and one of `SparseVideo` (uint8) are both taken, with pixels from 0 to 255.

    Args:
        resize: pixels of the shorter side.
        crop: pixels of the square cut from the centre; None keeps the whole frame.
        mean: of each channel, subtracted, in units of `value_range` and in `channel_order`.
        std: of each channel, divided by, likewise.
        value_range: what white becomes before `mean` and `std`: 1.0 or 255.0.
        channel_order: of the model, `RGB` or `BGR` (the networks that came from Caffe).
        interpolation: `bilinear` or `bicubic`, with antialiasing, as PIL.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        resize: int = 256,
        crop: int | None = 224,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        value_range: float = 1.0,
        channel_order: str = "RGB",
        interpolation: str = "bilinear",
    ):
        super().__init__()
        if channel_order not in CHANNEL_ORDERS:
            raise ValueError(f"channel_order={channel_order!r} is unknown: choose one of {', '.join(CHANNEL_ORDERS)}")
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation={interpolation!r} is unknown: choose one of {', '.join(INTERPOLATIONS)}")
        if value_range not in (1.0, 255.0):
            raise ValueError(f"value_range={value_range} is not allowed: choose 1.0 or 255.0")
        if crop is not None and crop > resize:
            raise ValueError(f"crop={crop} is larger than resize={resize}: crop at most what is there")
        self.resize = resize
        self.crop = crop
        self.value_range = value_range
        self.channel_order = channel_order
        self.interpolation = InterpolationMode(interpolation)
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(-1, 1, 1, 1), persistent=False)

    def forward(self, clip: Tensor) -> Tensor:
        """(3, T, H, W) RGB, uint8 or float, pixels 0 to 255 -> (3, T, crop, crop) float32.

        Raises:
            ValueError: a clip of another shape.
        """
        if clip.ndim != 4 or clip.shape[0] != 3:
            raise ValueError(
                f"a clip of shape {tuple(clip.shape)} was given; the transform takes (3, T, H, W): "
                "turn frames (T, 3, H, W) of SparseVideo with frames.transpose(0, 1)"
            )
        frames = F.resize(clip.transpose(0, 1), [self.resize], self.interpolation, antialias=True)
        if self.crop is not None:
            frames = F.center_crop(frames, [self.crop, self.crop])
        pixels = frames.transpose(0, 1).float() * (self.value_range / 255)
        if self.channel_order == "BGR":
            pixels = pixels.flip(0)
        return (pixels - self.mean) / self.std

    def extra_repr(self) -> str:
        """One line on what is done, for people."""
        return (
            f"shorter side to {self.resize}, centre {self.crop}, {self.channel_order} 0 to {self.value_range:g}, "
            f"mean {self.mean.flatten().tolist()}, std {self.std.flatten().tolist()}, {self.interpolation.value}"
        )


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
