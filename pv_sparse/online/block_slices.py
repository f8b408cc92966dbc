"""The layers of ECO's 3-D network, slice by slice: its first convolution, and the two halves of its blocks.

Each has copies of its weights, and is data alone, so that it can be pickled.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pv_sparse.models.resnet3d import PreActivationBlock
from pv_sparse.online.slices import Slice, SliceConv


@dataclass(frozen=True, eq=False)
class StemSlices:
    """Maps -> (total, total after BN and ReLU)."""

    conv: SliceConv
    norm: nn.BatchNorm3d

    @classmethod
    def of(cls, conv: nn.Conv3d, norm: nn.BatchNorm3d) -> "StemSlices":
        """Of the first convolution, and the norm of the first block."""
        return cls(_slice_conv(conv), copy.deepcopy(norm))

    def __call__(self, inputs: Sequence[Slice], times: Sequence[int]) -> list[Slice]:
        """As `Compute`."""
        total = self.conv([own[0] for own in inputs], times)
        return _parted(total, _active(total, self.norm))


@dataclass(frozen=True, eq=False)
class FirstSlices:
    """(total, active) -> (what conv2 reads, what is added to what it gives). conv1 and shortcut are one convolution."""

    conv: SliceConv
    width: int  # of what conv2 reads; where the size halves, the channels of the shortcut follow
    is_halving: bool

    @classmethod
    def of(cls, block: PreActivationBlock) -> "FirstSlices":
        """Of a block, whose second norm is folded in."""
        conv = _folded(_slice_conv(block.conv1), block.norm1)
        width = len(conv.bias)
        if block.down is None:
            return cls(conv, width, is_halving=False)
        down = _slice_conv(block.down)
        weight = torch.cat([conv.weight, down.weight]).contiguous(memory_format=torch.channels_last)
        return cls(replace(conv, weight=weight, bias=torch.cat([conv.bias, down.bias])), width, is_halving=True)

    def __call__(self, inputs: Sequence[Slice], times: Sequence[int]) -> list[Slice]:
        """As `Compute`."""
        out = self.conv([own[1] for own in inputs], times)
        hidden = F.relu(out[:, : self.width])
        if self.is_halving:
            return _parted(hidden, out[:, self.width :])
        return [(own, inputs[time][0]) for (own,), time in zip(_parted(hidden), times, strict=True)]


@dataclass(frozen=True, eq=False)
class SecondSlices:
    """(what conv2 reads, shortcut) -> (total, total after BN and ReLU)."""

    conv: SliceConv
    norm: nn.BatchNorm3d

    @classmethod
    def of(cls, block: PreActivationBlock, norm: nn.BatchNorm3d) -> "SecondSlices":
        """Of a block, and the norm that reads what it gives."""
        return cls(_slice_conv(block.conv2), copy.deepcopy(norm))

    def __call__(self, inputs: Sequence[Slice], times: Sequence[int]) -> list[Slice]:
        """As `Compute`."""
        total = self.conv([own[0] for own in inputs], times) + torch.cat([inputs[time][1] for time in times])
        return _parted(total, _active(total, self.norm))


def _slice_conv(conv: nn.Conv3d) -> SliceConv:
    weight = conv.weight.detach().transpose(1, 2).flatten(1, 2)  # (C', 3*C, 3, 3)
    bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.detach().clone()
    return SliceConv(weight.clone(memory_format=torch.channels_last), bias, conv.stride[0])


def _folded(conv: SliceConv, norm: nn.BatchNorm3d) -> SliceConv:
    """The convolution with the BN that follows it."""
    weight, bias = nn.utils.fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,  # type: ignore[arg-type]
        norm.running_var,  # type: ignore[arg-type]
        norm.eps,
        norm.weight,
        norm.bias,
    )
    return replace(conv, weight=weight.detach().contiguous(memory_format=torch.channels_last), bias=bias.detach())


def _active(total: Tensor, norm: nn.BatchNorm3d) -> Tensor:
    return F.relu(F.batch_norm(total, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps))


def _parted(*batches: Tensor) -> list[Slice]:
    """Slice by slice, each in memory of its own: some are kept long after the others."""
    parts = [[own.clone(memory_format=torch.channels_last) for own in torch.split(batch, 1)] for batch in batches]
    return list(zip(*parts, strict=True))
