"""Scaling clips as PIL scales pictures, and what the transforms check of what they are given."""

from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

INTERPOLATIONS = ("bilinear", "bicubic")
MAX_CHANNELS = 4


def resize_clip(clip: Tensor, size: list[int], interpolation: str = "bilinear") -> Tensor:
    """(C, T, H, W) -> the same with [height, width] pixels, or [shorter side], antialiased; uint8 stays uint8."""
    # torchvision is fastest over frames of few channels.
    frames = F.resize(clip.transpose(0, 1), size, InterpolationMode(interpolation), antialias=True)
    return frames.transpose(0, 1)


def check_interpolation(interpolation: str) -> str:
    """The name itself; `ValueError` where it is unknown."""
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation={interpolation!r} is unknown: choose one of {', '.join(INTERPOLATIONS)}")
    return interpolation


def check_sizes(**sizes: int) -> None:
    """`ValueError` for a size in pixels below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}={size} is not allowed: it must be at least 1 pixel")


def check_clip(clip: Tensor, taker: str, channels: int | None = None) -> None:
    """`ValueError` for what is no clip (C, T, H, W), of so many channels where `channels` is given."""
    allowed = range(1, MAX_CHANNELS + 1) if channels is None else (channels,)
    if clip.ndim == 4 and clip.shape[0] in allowed:
        return
    c = "C" if channels is None else channels
    most = f" with C at most {MAX_CHANNELS}" if channels is None else ""
    raise ValueError(
        f"a clip of shape {tuple(clip.shape)} was given; {taker} takes ({c}, T, H, W){most}: "
        f"turn frames (T, {c}, H, W) of SparseVideo with frames.transpose(0, 1)"
    )
