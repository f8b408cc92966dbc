"""3-D convolutions as 2-D ones over frames whose channels come last: faster on CPUs, and exact up to rounding.

Winograd's minimal filtering F(2, 3) along time: two outputs of a filter of three taps need four products, not six.
Winograd, "Arithmetic Complexity of Computations", 1980; Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks", CVPR 2016, section 4.1, who filter pictures by it. Here each product is a 2-D convolution of whole frames.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pv_sparse.inference.packed_conv import packed


class TemporalWinogradConv3d(nn.Module):
    """An `nn.Conv3d` of three taps in time, stride 1 and padding 1, as four 2-D convolutions for every two frames.

    Args:
        conv: stays as it is.
        is_packed: whether the 2-D convolutions keep their weights as oneDNN wants them.
    """

    def __init__(self, conv: nn.Conv3d, is_packed: bool = False):
        super().__init__()
        if not takes_winograd(conv):
            raise ValueError(f"{conv} is not allowed: it must have 3 taps in time, stride 1 and padding 1")
        first, middle, last = conv.weight.detach().float().unbind(dim=2)
        taps = (first, (first + middle + last) / 2, (first - middle + last) / 2, last)
        bias = None if conv.bias is None else conv.bias.detach()
        biases = (bias, None, None, None if bias is None else -bias)
        made = [_conv2d(tap, own, conv) for tap, own in zip(taps, biases, strict=True)]
        self.products = nn.ModuleList(packed(product) if is_packed else product for product in made)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, T, H, W, C) -> (N, T, H', W', C'), any T."""
        num_frames = frames.shape[1]
        frames = F.pad(frames, (0, 0, 0, 0, 0, 0, 1, 1 + num_frames % 2))
        d0, d1, d2, d3 = frames[:, 0:-2:2], frames[:, 1:-1:2], frames[:, 2::2], frames[:, 3::2]
        parts = (d0 - d2, d1 + d2, d2 - d1, d1 - d3)
        m0, m1, m2, m3 = (conv_frames(m, part) for m, part in zip(self.products, parts, strict=True))
        pairs = torch.stack([m0.add_(m1).add_(m2), m1.sub_(m2).sub_(m3)], dim=2)
        return pairs.flatten(1, 2)[:, :num_frames]


class StackedConv3d(nn.Module):
    """An `nn.Conv3d` as one 2-D convolution over the frames that it sees at a time, their channels side by side.

    Several convolutions of one input, of the same kernel, stride and padding, can share it: their outputs come out one
    after another.

    Args:
        convs: at least one; they stay as they are.
        is_packed: as in `TemporalWinogradConv3d`.
    """

    def __init__(self, *convs: nn.Conv3d, is_packed: bool = False):
        super().__init__()
        conv = convs[0]
        self.taps, self.stride, self.padding = conv.kernel_size[0], conv.stride[0], cast(int, conv.padding[0])
        weight = torch.cat([c.weight.detach().transpose(1, 2).flatten(1, 2) for c in convs])
        bias = None if conv.bias is None else torch.cat([cast(Tensor, c.bias).detach() for c in convs])
        made = _conv2d(weight, bias, conv)
        self.conv = packed(made) if is_packed else made

    def forward(self, frames: Tensor) -> Tensor:
        """(N, T, H, W, C) -> (N, T', H', W', C')."""
        frames = F.pad(frames, (0, 0, 0, 0, 0, 0, self.padding, self.padding))
        end = frames.shape[1] - self.taps + 1
        seen = [frames[:, tap : tap + end : self.stride] for tap in range(self.taps)]
        return conv_frames(self.conv, torch.cat(seen, dim=-1))


def takes_winograd(conv: nn.Conv3d) -> bool:
    """Whether it has the shape in time that F(2, 3) is for."""
    in_time = conv.kernel_size[0], conv.stride[0], conv.padding[0], conv.dilation[0]
    return in_time == (3, 1, 1, 1) and conv.groups == 1 and conv.padding_mode == "zeros"


def conv_frames(conv: nn.Module, frames: Tensor) -> Tensor:
    """A 2-D convolution of each frame: (N, T, H, W, C) -> (N, T, H', W', C')."""
    images = frames.flatten(0, 1).permute(0, 3, 1, 2)  # channels last in memory
    return conv(images).permute(0, 2, 3, 1).unflatten(0, frames.shape[:2])


def _conv2d(weight: Tensor, bias: Tensor | None, like: nn.Conv3d) -> nn.Conv2d:
    space = (like.kernel_size[1:], like.stride[1:], cast(tuple[int, ...], like.padding)[1:], like.dilation[1:])
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], *space, bias=bias is not None, device="meta")  # type: ignore[arg-type]
    dtype = like.weight.dtype
    weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
    conv.weight = nn.Parameter(weight, requires_grad=False)
    conv.bias = None if bias is None else nn.Parameter(bias.to(dtype), requires_grad=False)
    return conv
