"""`LayerGraph`: a backbone of layers that read one another, cut after the taps that a head wants."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pv_sparse.models.backbone import Backbone

IMAGES = "images"
CLASSIFIER = "fc"  # of the published ResNets and Inceptions; no backbone has it


class Layer(NamedTuple):
    """A named module and the names of what it reads: other layers, or `images`."""

    name: str
    module: nn.Module
    inputs: tuple[str, ...]


class Concat(nn.Module):
    """Maps of one size, their channels one after another."""

    def forward(self, *maps: Tensor) -> Tensor:
        sizes = [tuple(m.shape[2:]) for m in maps]
        if any(size != sizes[0] for size in sizes):
            raise ValueError(
                f"images of this size give branches of sizes {sizes}, which cannot be joined: "
                "give images whose sides are multiples of 32 (inception_v3_trn: 299)"
            )
        return torch.cat(maps, dim=1)


class LayerGraph(Backbone):
    """Layers in the order they run; the outputs of those named in `taps` come out.

    Layers that no tap depends on are left out: they cost neither time nor parameters.

    Args:
        layers: each reads layers before it.
        taps: names of layers, in the order of the maps that come out.
        in_channels: of the images.
        image_size: a size that the layers take; others may do as well.

    Raises:
        ValueError: a tap that is no layer.
    """

    def __init__(self, layers: Sequence[Layer], taps: Sequence[str], in_channels: int = 3, image_size: int = 224):
        super().__init__()
        known = [layer.name for layer in layers]
        if any(tap not in known for tap in taps):
            raise ValueError(f"taps={list(taps)} are not allowed: choose among {', '.join(known)}")
        kept = _needed(layers, taps)
        for layer in kept:
            self.add_module(layer.name, layer.module)
        self.taps = tuple(taps)
        self.in_channels = in_channels
        left_out = [name for name in known if name not in {layer.name for layer in kept}]
        self.cut = (*left_out, CLASSIFIER)
        self._steps = _with_last_uses(kept, self.taps)
        self.tap_channels = self.measure_channels(image_size)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) -> one map (N, C', H', W') for each tap."""
        maps = {IMAGES: images}
        for name, inputs, unused in self._steps:
            maps[name] = getattr(self, name)(*[maps[read] for read in inputs])
            for old in unused:
                del maps[old]
        return tuple(maps[tap] for tap in self.taps)


def chain(modules: Mapping[str, nn.Module]) -> list[Layer]:
    """Layers of which each reads the one before it."""
    sources = [IMAGES, *modules][:-1]
    return [Layer(name, module, (source,)) for (name, module), source in zip(modules.items(), sources, strict=True)]


def _needed(layers: Sequence[Layer], taps: Sequence[str]) -> list[Layer]:
    """The layers that the taps depend on."""
    wanted = set(taps)
    for layer in reversed(layers):
        if layer.name in wanted:
            wanted.update(layer.inputs)
    return [layer for layer in layers if layer.name in wanted]


def _with_last_uses(layers: Sequence[Layer], taps: Sequence[str]) -> tuple[tuple[str, tuple[str, ...], list[str]], ...]:
    """(name, inputs, what nobody reads after it) of each layer, so that a map is held no longer than it is needed."""
    last_reader = {read: layer.name for layer in layers for read in layer.inputs}
    return tuple(
        (
            layer.name,
            layer.inputs,
            [r for r in dict.fromkeys(layer.inputs) if last_reader[r] == layer.name and r not in taps],
        )
        for layer in layers
    )
