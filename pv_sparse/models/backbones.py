"""2-D networks as backbones: `create_backbone(name)` gives a `Backbone`, whose taps are the maps that heads read."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torchvision
from torch import Tensor, nn

from pv_sparse.models.efficientnet_lite import efficientnet_lite0_layers

RESNETS = tuple(
    torchvision.models.list_models(module=torchvision.models, include=["resnet*", "resnext*", "wide_resnet*"])
)
BACKBONES = ("efficientnet_lite0", *RESNETS)


class Backbone(nn.Sequential):
    """Layers in a row; the outputs of the layers named in `taps` come out.

    Attributes:
        taps: names of layers, in order.
        tap_channels: the channels of each tap, known before any data runs through.
    """

    def __init__(self, layers: "OrderedDict[str, nn.Module]", taps: Sequence[str]):
        super().__init__(layers)
        self.taps = tuple(taps)
        self.tap_channels = self._measure_channels()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map (N, C', H', W') for each tap."""
        maps = {}
        for name, layer in self.named_children():
            images = layer(images)
            maps[name] = images
        return tuple(maps[tap] for tap in self.taps)

    def _measure_channels(self) -> tuple[int, ...]:
        """By a pass on the meta device, which computes shapes only and touches neither weights nor statistics."""
        shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in self.state_dict().items()}
        images = torch.empty(2, 3, 64, 64, device="meta")
        return tuple(m.shape[1] for m in torch.func.functional_call(self, shapes, images))


def create_backbone(name: str) -> Backbone:
    """A backbone with random weights and one tap, its last map.

    Args:
        name: `efficientnet_lite0`, or a ResNet of torchvision: `resnet18` to `resnet152`, `resnext...`, `wide_...`.

    Raises:
        ValueError: an unknown name.
    """
    if name == "efficientnet_lite0":
        return Backbone(efficientnet_lite0_layers(), ["top"])
    if name not in RESNETS:
        raise ValueError(f"backbone={name!r} is unknown: choose one of {', '.join(BACKBONES)}")
    layers = OrderedDict(torchvision.models.get_model(name).named_children())
    del layers["avgpool"], layers["fc"]
    return Backbone(layers, ["layer4"])
