"""What every backbone is: a network from images to a tuple of maps, whose channels are known beforehand."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class Backbone(nn.Module):
    """From images (N, in_channels, H, W) to one map (N, C', H', W') for each tap. A base class.

    Attributes:
        taps: the names of the layers whose maps come out, in order.
        tap_channels: C' of each tap, known before any data runs through.
        in_channels: of the images.
        cut: names, or beginnings of names, of what the whole network has and this one lacks, since no tap needs it.
    """

    taps: tuple[str, ...]
    tap_channels: tuple[int, ...]
    in_channels: int
    cut: tuple[str, ...] = ()

    @property
    def as_published(self) -> nn.Module:
        """The module whose state dict has the keys of the published network."""
        return self

    def measure_channels(self, image_size: int = 224) -> tuple[int, ...]:
        """By a pass on the meta device, which computes shapes only and touches neither weights nor statistics."""
        shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in _tensors(self)}
        images = torch.empty(2, self.in_channels, image_size, image_size, device="meta")
        with _WithoutBatchNorm():
            maps: tuple[Tensor, ...] = torch.func.functional_call(self, shapes, images)
        flat = [tuple(m.shape) for m in maps if m.ndim != 4]
        if flat:
            raise ValueError(f"a tap gives {flat[0]}, which is no map (N, C, H, W): choose one before it is flattened")
        return tuple(m.shape[1] for m in maps)


class _WithoutBatchNorm(TorchFunctionMode):
    """Leaves shapes as they are, and is most of a pass on the meta device, where it is made of many small steps."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func is F.batch_norm else func(*args, **(kwargs or {}))


def _tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()
