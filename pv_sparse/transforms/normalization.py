"""What networks want of their pixels, by name, and the module that gives it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

CHANNEL_ORDERS = ("RGB", "BGR", "XY")
VALUE_RANGES = (1.0, 255.0)


@dataclass(frozen=True)
class Normalization:
    """What a network wants of its pixels.

    Attributes:
        mean: of each channel, subtracted, in units of `value_range` and in `channel_order`.
        std: of each channel, divided by, likewise.
        value_range: what white becomes before `mean` and `std`: 1.0 or 255.0.
        channel_order: of the network: `RGB`; `BGR`, which an RGB clip is turned into; or `XY` for optical flow.

    Raises:
        ValueError: another order or range, a mean or std of another length than the order, a std that is not above 0.
    """

    mean: Sequence[float]
    std: Sequence[float]
    value_range: float = 1.0
    channel_order: str = "RGB"

    def __post_init__(self) -> None:
        if self.channel_order not in CHANNEL_ORDERS:
            orders = ", ".join(CHANNEL_ORDERS)
            raise ValueError(f"channel_order={self.channel_order!r} is unknown: choose one of {orders}")
        if self.value_range not in VALUE_RANGES:
            raise ValueError(f"value_range={self.value_range} is not allowed: choose 1.0 or 255.0")
        for name, values in {"mean": self.mean, "std": self.std}.items():
            if len(values) != self.num_channels:
                raise ValueError(f"{name}={values} does not fit {self.channel_order}: give {self.num_channels} numbers")
        if min(self.std) <= 0:
            raise ValueError(f"std={self.std} is not allowed: each must be above 0")

    @property
    def num_channels(self) -> int:
        return len(self.channel_order)


# imagenet*: torchvision's networks, and TSN's and TRN's ResNets; the flow's std is the mean of the three.
# bn_inception*: BNInception, Inception v3, ECO and C3DResNet18 of tsn-pytorch, TRN-pytorch and ECO-pytorch.
# caffe*: TSN's and ECO's first implementations, in Caffe. efficientnet_lite: its published weights. pytorchvideo: the
# host's own model zoo.
NORMALIZATIONS = {
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "imagenet_flow": Normalization((0.5, 0.5), (0.226, 0.226), 1.0, "XY"),
    "bn_inception": Normalization((104.0, 117.0, 128.0), (1.0, 1.0, 1.0), 255.0, "BGR"),
    "bn_inception_flow": Normalization((128.0, 128.0), (1.0, 1.0), 255.0, "XY"),
    "caffe": Normalization((104.0, 117.0, 123.0), (1.0, 1.0, 1.0), 255.0, "BGR"),
    "caffe_flow": Normalization((128.0, 128.0), (1.0, 1.0), 255.0, "XY"),
    "mmaction2": Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 255.0),
    "mmaction2_flow": Normalization((128.0, 128.0), (128.0, 128.0), 255.0, "XY"),
    "efficientnet_lite": Normalization((127 / 255,) * 3, (128 / 255,) * 3),
    "pytorchvideo": Normalization((0.45, 0.45, 0.45), (0.225, 0.225, 0.225)),
}


def get_normalization(normalization: str | Normalization) -> Normalization:
    """The one of this name, or what is given; `ValueError` lists the names there are."""
    if isinstance(normalization, Normalization):
        return normalization
    if normalization not in NORMALIZATIONS:
        names = ", ".join(NORMALIZATIONS)
        raise ValueError(f"normalization={normalization!r} is unknown: choose one of {names}, or give a Normalization")
    return NORMALIZATIONS[normalization]


class NormalizeClip(nn.Module):
    """Pixels from 0 to 255 to what a network wants: channel order, range, mean and standard deviation.

    It moves with `.to(device)`, and takes batches too: uint8 from the workers, normalised on the GPU, is a quarter of
    the memory on the way. For RGB difference, normalise before `TemporalDifference`: the means then cancel.

    Args:
        normalization: a name of `NORMALIZATIONS`: `imagenet`, `bn_inception`, `caffe`, `mmaction2`, each also with
            `_flow`, `efficientnet_lite` and `pytorchvideo`; or a `Normalization`.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, normalization: str | Normalization = "imagenet"):
        super().__init__()
        self.normalization = get_normalization(normalization)
        want = self.normalization
        mean, std = (torch.tensor(values, dtype=torch.float32) for values in (want.mean, want.std))
        scale = want.value_range / 255 / std
        self.register_buffer("scale", scale.reshape(-1, 1, 1, 1), persistent=False)
        self.register_buffer("offset", (mean / std).reshape(-1, 1, 1, 1), persistent=False)

    def forward(self, clip: Tensor) -> Tensor:
        """(C, T, H, W) or (N, C, T, H, W), uint8 or float, 0 to 255 -> the same shape, float32.

        Raises:
            ValueError: a clip of another shape; C is 3, for flow 2.
        """
        channels = self.normalization.num_channels
        if clip.ndim not in (4, 5) or clip.shape[-4] != channels:
            raise ValueError(
                f"a clip of shape {tuple(clip.shape)} was given; NormalizeClip takes ({channels}, T, H, W), or a batch "
                f"of them, for the channels {self.normalization.channel_order}"
            )
        if self.normalization.channel_order == "BGR":
            clip = clip.flip(-4)
        # What is written into is never the clip that was given. For bytes, to convert first is twice as quick.
        pixels = clip * self.scale if clip.is_floating_point() else clip.float().mul_(self.scale)
        return pixels.sub_(self.offset)

    def extra_repr(self) -> str:
        """One line on what is done, for people."""
        want = self.normalization
        return f"{want.channel_order} 0 to {want.value_range:g}, mean {list(want.mean)}, std {list(want.std)}"
