"""`ResNet3D` for CPUs: every convolution a 2-D one, over frames whose channels come last from the first to the end."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pv_sparse.inference.temporal_winograd import StackedConv3d, TemporalWinogradConv3d, takes_winograd
from pv_sparse.models.resnet3d import PreActivationBlock, ResNet3D


class FastResNet3D(nn.Module):
    """Gives what a `ResNet3D` in eval mode gives, up to rounding.

    Args:
        net: best with its `norm1`s folded into the convolutions before them (`fold_norms`); it stays as it is.
        is_packed: as in `TemporalWinogradConv3d`.
    """

    def __init__(self, net: ResNet3D, is_packed: bool = False):
        super().__init__()
        stem, *blocks, norm, _ = net.children()
        self.stem = _fast(stem, is_packed)
        self.blocks = nn.ModuleList(FastBlock(block, is_packed) for block in blocks)  # type: ignore[arg-type]
        self.norm = _norm(norm)
        self.out_channels = net.out_channels

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, C', T', H', W'); no copy is made of maps whose channels come last in memory."""
        frames = self.stem(maps.permute(0, 2, 3, 4, 1).contiguous())
        for block in self.blocks:
            frames = block(frames)
        return self.norm(frames).relu_().permute(0, 4, 1, 2, 3)


class FastBlock(nn.Module):
    """A `PreActivationBlock`; where it halves, its first convolution and its shortcut are one."""

    def __init__(self, block: PreActivationBlock, is_packed: bool):
        super().__init__()
        self.norm, self.norm1 = _norm(block.norm), _norm(block.norm1)
        self.halves = block.down is not None
        if block.down is None:
            self.conv1 = _fast(block.conv1, is_packed)
        else:
            self.conv1 = StackedConv3d(block.conv1, block.down, is_packed=is_packed)
        self.conv2 = _fast(block.conv2, is_packed)

    def forward(self, total: Tensor) -> Tensor:
        """(N, T, H, W, C) -> (N, T', H', W', C')."""
        out = self.conv1(self.norm(total).relu_())
        if self.halves:
            out, total = out.chunk(2, dim=-1)
            return self.conv2(F.relu(self.norm1(out))) + total
        return self.conv2(self.norm1(out).relu_()).add_(total)


class ChannelNorm(nn.Module):
    """A batch norm in eval mode, over (..., C)."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: Any):
        super().__init__()
        scale = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
        shift = norm.bias.detach().double() - norm.running_mean.double() * scale
        self.register_buffer("scale", scale.to(norm.weight.dtype))
        self.register_buffer("shift", shift.to(norm.weight.dtype))

    def forward(self, values: Tensor) -> Tensor:
        return torch.addcmul(self.shift, values, self.scale)


def count_winograd(net: nn.Module) -> tuple[int, int]:
    """3-D convolutions that run by F(2, 3), and all."""
    fast = sum(isinstance(module, TemporalWinogradConv3d) for module in net.modules())
    shared = sum(isinstance(module, FastBlock) and module.halves for module in net.modules())
    return fast, fast + shared + sum(isinstance(module, StackedConv3d) for module in net.modules())


def _norm(norm: nn.Module) -> nn.Module:
    return norm if isinstance(norm, nn.Identity) else ChannelNorm(norm)


def _fast(conv: Any, is_packed: bool) -> nn.Module:
    return TemporalWinogradConv3d(conv, is_packed) if takes_winograd(conv) else StackedConv3d(conv, is_packed=is_packed)
