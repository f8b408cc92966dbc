"""EfficientNet-Lite0: a small, fast 2-D network without squeeze-excite, made for phones.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019; the Lite variant is
of the TensorFlow TPU repository (`models/official/efficientnet/lite`). As there: ReLU6 in place of swish, no
squeeze-excite, BN eps 1e-3, and TensorFlow's "SAME" padding (with strides it is uneven; symmetric padding costs a fifth
of the accuracy). Not as there: no stochastic depth in training.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from pv_sparse.models.layer_graph import Layer, chain

BN_EPS = 1e-3
STEM_CHANNELS = 32
TOP_CHANNELS = 1280
TAPS = ("stage3", "top")


class Stage(NamedTuple):
    expansion: int
    kernel: int
    stride: int
    channels: int
    num_blocks: int


STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": ceil(size / stride) outputs, the odd row and column at the end."""

    def forward(self, images: Tensor) -> Tensor:
        vertical, horizontal = (self._padding_of(images.shape[2 + axis], axis) for axis in (0, 1))
        return super().forward(F.pad(images, [*horizontal, *vertical]))

    def _padding_of(self, size: int, axis: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[axis], self.stride[axis]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2


class InvertedResidual(nn.Module):
    """Widen by 1x1, filter each channel, narrow by 1x1; added to its input where the shape stays."""

    def __init__(self, in_channels: int, stage: Stage, stride: int):
        super().__init__()
        width = in_channels * stage.expansion
        self.expand = _conv_bn(in_channels, width, kernel=1) if stage.expansion > 1 else nn.Identity()
        self.depthwise = _conv_bn(width, width, stage.kernel, stride, groups=width)
        self.project = _conv_bn(width, stage.channels, kernel=1, activation=nn.Identity)
        self.has_skip = stride == 1 and in_channels == stage.channels

    def forward(self, images: Tensor) -> Tensor:
        out = self.project(self.depthwise(self.expand(images)))
        return out + images if self.has_skip else out


def efficientnet_lite0_layers(in_channels: int = 3) -> list[Layer]:
    """`stem`, `stage1` to `stage7`, `top`: (N, in_channels, H, W) to (N, 1280, H/32, W/32), with random weights."""
    modules: dict[str, nn.Module] = {"stem": _conv_bn(in_channels, STEM_CHANNELS, kernel=3, stride=2)}
    channels = STEM_CHANNELS
    for number, stage in enumerate(STAGES, start=1):
        modules[f"stage{number}"] = _stage(channels, stage)
        channels = stage.channels
    modules["top"] = _conv_bn(channels, TOP_CHANNELS, kernel=1)
    for module in modules.values():
        module.apply(_initialise)
    return chain(modules)


def _stage(in_channels: int, stage: Stage) -> nn.Sequential:
    first = InvertedResidual(in_channels, stage, stage.stride)
    return nn.Sequential(first, *(InvertedResidual(stage.channels, stage, 1) for _ in range(stage.num_blocks - 1)))


def _conv_bn(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] = nn.ReLU6,
) -> nn.Sequential:
    conv = SameConv2d(in_channels, out_channels, kernel, stride, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels, eps=BN_EPS), activation())


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
