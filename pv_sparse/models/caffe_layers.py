"""The layers of networks that came from Caffe: biased convolutions under BN, and pools that round sizes up."""

from torch import nn


class ConvBnRelu(nn.Sequential):
    """Convolution with bias, BN (eps 1e-5), ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]


def pool_3x3(kind: str, stride: int) -> nn.Module:
    """`avg` (the padding counts) or `max` over 3x3, sizes rounded up; padded where the size stays."""
    pool = nn.AvgPool2d if kind == "avg" else nn.MaxPool2d
    return pool(3, stride, padding=0 if stride == 2 else 1, ceil_mode=True)


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, at least 1."""
    return max(1, round(channels * width))
