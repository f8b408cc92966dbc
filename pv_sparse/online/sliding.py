"""ECO's 3-D network over a sliding window, exactly, without computing again what the window before had as well.

Only slices that depend on other frames than before are computed, each as a 2-D convolution over three slices
(`slices.py`). Where nothing is left to share, the rest of the network runs as it is. For 16 frames and a window moved
by one, that is 0.63 of the multiply-adds of the 3-D network: 3 of 16 slices of its first layer, 5 and 7 of the next
two, 5 and 7 of 8 where it halves them, and all after that.
"""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from pv_sparse.models.eco import EcoHead
from pv_sparse.models.logits import Logits
from pv_sparse.models.resnet3d import PreActivationBlock, ResNet3D
from pv_sparse.online.block_slices import FirstSlices, SecondSlices, StemSlices
from pv_sparse.online.heads import Maps, SliceCache
from pv_sparse.online.slices import Slice, SliceLayer


def can_slide(head: nn.Module, num_frames: int) -> bool:
    """Whether `SlidingEcoHead` knows the head, and windows of so many frames have more in common than the first layer.

    They have from 8 frames on. A head with layers of its own, as `optimize` makes it, or with hooks is not known.
    """
    if type(head) is not EcoHead or type(head.net) is not ResNet3D or not _is_as_built(head):
        return False
    layers = _layers(head.net, num_frames)[0]
    return len(layers) > 1 and all(num_frames % layer.step == 0 for layer in layers)


class SlidingEcoHead:
    """An `EcoHead` in eval mode over a window of `num_frames`; an `OnlineHead`, with copies of its weights.

    On its own it is the head: with an empty cache it computes everything, with that of the windows before, of frames
    one earlier each, only what is new.
    """

    def __init__(self, head: EcoHead, num_frames: int):
        self.layers, rest = _layers(head.net, num_frames)
        self.rest, self.fc = copy.deepcopy(rest), copy.deepcopy(head.fc)

    @torch.inference_mode()
    def __call__(self, cache: SliceCache, frames: Sequence[int], maps: Sequence[Maps]) -> tuple[Logits, SliceCache]:
        """As `OnlineHead`."""
        slices: list[Slice] = [(of_frame[0],) for of_frame in maps]
        renewed = []
        for layer, recent in zip(self.layers, cache or [()] * len(self.layers), strict=True):
            made = layer(recent, frames, slices)
            slices = list(made.values())
            # After s steps of one frame, slices that are s frames apart are in line again.
            renewed.append((made, *recent)[: layer.step])
        total = torch.stack([own[0] for own in slices], dim=2).contiguous()  # (1, C, T, H, W)
        features = self.rest(total).mean(dim=(2, 3, 4))
        if len(maps[0]) > 1:
            features_2d = torch.stack([of_frame[1].mean(dim=(2, 3)) for of_frame in maps]).mean(dim=0)
            features = torch.cat([features_2d, features], dim=1)
        return self.fc(features), tuple(renewed)


def _layers(net: ResNet3D, num_frames: int) -> tuple[list[SliceLayer], nn.Sequential]:
    """The layers of the blocks where windows have something in common, and the rest of the network."""
    blocks = [block for block in net.children() if isinstance(block, PreActivationBlock)]
    layers = [SliceLayer(StemSlices.of(net.stem, blocks[0].norm), reach=1, step=1)]
    for number, block in enumerate(blocks, start=1):
        step, reach = layers[-1].step * block.conv1.stride[0], layers[-1].reach + layers[-1].step
        first = SliceLayer(FirstSlices.of(block), reach, step)
        if not first.num_shared(num_frames):
            break
        layers += [first, SliceLayer(SecondSlices.of(block, _next_norm(net, number)), reach + step, step)]
    return layers, nn.Sequential(*list(net.children())[1 + (len(layers) - 1) // 2 :])


def _next_norm(net: ResNet3D, number: int) -> nn.BatchNorm3d:
    """The norm that reads what block `number`, from 1, gives."""
    after = list(net.children())[number + 1]
    return after.norm if isinstance(after, PreActivationBlock) else net.norm


def _is_as_built(head: EcoHead) -> bool:
    """Whether every layer is as `eco_net` makes it: slice by slice, others would give other logits."""
    stem, *blocks, norm, relu = head.net.children()
    if stem is not head.net.stem or norm is not head.net.norm or type(relu) is not nn.ReLU or not blocks:
        return False
    modules = list(head.modules())
    has_hooks = any(module._forward_hooks or module._forward_pre_hooks for module in modules)
    if has_hooks or any(module.training for module in modules):
        return False
    if len({parameter.dtype for parameter in head.net.parameters()}) != 1:
        return False
    return _is_conv(stem, strides=(1,)) and _is_norm(norm) and all(_is_block(block) for block in blocks)


def _is_block(block: nn.Module) -> bool:
    if type(block) is not PreActivationBlock or not _is_conv(block.conv1, strides=(1, 2)):
        return False
    halves = block.conv1.stride[0] == 2
    has_down = _is_conv(block.down, strides=(2,)) if halves else block.down is None
    return has_down and _is_conv(block.conv2, strides=(1,)) and _is_norm(block.norm) and _is_norm(block.norm1)


def _is_conv(conv: nn.Module | None, strides: Sequence[int]) -> bool:
    if type(conv) is not nn.Conv3d or conv.stride not in [(stride,) * 3 for stride in strides]:
        return False
    threes = (conv.kernel_size, conv.padding, conv.dilation) == ((3, 3, 3), (1, 1, 1), (1, 1, 1))
    return threes and conv.groups == 1 and conv.padding_mode == "zeros"


def _is_norm(norm: nn.Module) -> bool:
    return type(norm) is nn.BatchNorm3d and norm.running_mean is not None and norm.running_var is not None
