"""2-D networks as backbones: `create_backbone(name)` gives a module whose taps are the maps that heads read."""

import difflib
from collections.abc import Sequence

import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from pv_sparse.models.backbone import Backbone
from pv_sparse.models.bn_inception import TAPS as BN_INCEPTION_TAPS
from pv_sparse.models.bn_inception import bn_inception_layers
from pv_sparse.models.efficientnet_lite import TAPS as EFFICIENTNET_LITE_TAPS
from pv_sparse.models.efficientnet_lite import efficientnet_lite0_layers
from pv_sparse.models.feature_extraction import (
    TORCHVISION,
    ExtractedBackbone,
    TimmBackbone,
    first_conv,
    set_in_channels,
)
from pv_sparse.models.inception_v3 import TAPS as INCEPTION_V3_TAPS
from pv_sparse.models.inception_v3 import inception_v3_trn_layers
from pv_sparse.models.layer_graph import Layer, LayerGraph, chain
from pv_sparse.models.tiny import TAPS as TINY_TAPS
from pv_sparse.models.tiny import tiny_layers

RESNETS = tuple(
    torchvision.models.list_models(module=torchvision.models, include=["resnet*", "resnext*", "wide_resnet*"])
)
# name -> (the tap of 1/8 of the image's size that ECO reads, the last map)
TAPS = {
    "bn_inception": BN_INCEPTION_TAPS,
    "efficientnet_lite0": EFFICIENTNET_LITE_TAPS,
    "inception_v3_trn": INCEPTION_V3_TAPS,
    "tiny": TINY_TAPS,
    **dict.fromkeys((*RESNETS, "resnext101_32x4d"), ("layer2", "layer4")),
}
IMAGE_SIZES = {"inception_v3_trn": 299}  # made for it; the others for 224
BACKBONES = (*TAPS, *TORCHVISION)


def create_backbone(name: str, taps: Sequence[str] | None = None, in_channels: int = 3, width: float = 1.0) -> Backbone:
    """A backbone with random weights: from images (N, in_channels, H, W) to a tuple of maps (N, C', H', W').

    Args:
        name: `bn_inception`, `inception_v3_trn`, `efficientnet_lite0`, `tiny`, any classifier of torchvision that has
            maps, by its name there (`resnet50`, `mobilenet_v3_small`), or `timm/<name>` where timm is installed.
        taps: the layers whose maps come out; None is the last map. What no tap depends on is left out. Names are
            those of the layers (`layer2`, `inception_3c_double_3x3_1`), of torchvision's modules (`features.4`), or of
            timm's feature maps.
        in_channels: of the images: channels of a frame times frames per segment.
        width: factor of every number of channels, for `bn_inception` only.

    Returns:
        A module with `taps`, `tap_channels` (known before data runs through) and `in_channels`.

    Raises:
        ValueError: an unknown name, tap or width.
    """
    if in_channels < 1:
        raise ValueError(f"in_channels={in_channels} is not allowed: it must be at least 1")
    if taps is not None and (not taps or isinstance(taps, str)):
        raise ValueError(f"taps={taps!r} are not allowed: give a list of at least one layer, or None for the last map")
    if width <= 0:
        raise ValueError(f"width={width} is not allowed: it must be more than 0")
    if width != 1.0 and name != "bn_inception":
        raise ValueError(
            f"width={width} is not allowed for {name}: only bn_inception has a width, others are as they are"
        )
    if name.startswith("timm/"):
        return TimmBackbone(name.removeprefix("timm/"), taps, in_channels)
    if name in TORCHVISION:
        return ExtractedBackbone(name, taps, in_channels)
    if name not in TAPS:
        raise ValueError(f"backbone={name!r} is unknown: {_offer(name)}")
    layers = _layers(name, in_channels, width)
    return LayerGraph(layers, TAPS[name][-1:] if taps is None else taps, in_channels, IMAGE_SIZES.get(name, 224))


def eco_taps(name: str) -> tuple[str, str]:
    """The names of the layers that ECO reads: the map of 1/8 of the image's size, and the last one."""
    if name not in TAPS:
        raise ValueError(f"which maps of {name} ECO reads is not known: choose one of {', '.join(TAPS)}, or give taps=")
    return TAPS[name]


def adapt_first_conv(network: nn.Module, in_channels: int) -> None:
    """Let a (pretrained) network take another number of input channels, in place.

    The first convolution's weights become their mean over the old input channels, repeated, not rescaled; the bias
    stays. This is the rule of yjxiong/tsn-pytorch for flow and RGB difference.
    """
    if in_channels < 1:
        raise ValueError(f"in_channels={in_channels} is not allowed: it must be at least 1")
    conv = first_conv(network)
    averaged = averaged_over_input(conv.weight.detach(), in_channels)
    conv.weight = nn.Parameter(averaged, requires_grad=conv.weight.requires_grad)
    conv.in_channels = in_channels
    for module in network.modules():
        if isinstance(module, Backbone):
            module.in_channels = in_channels


def averaged_over_input(weight: Tensor, in_channels: int) -> Tensor:
    """(out, in, h, w) -> (out, in_channels, h, w), the mean over the input channels in each."""
    return weight.mean(dim=1, keepdim=True).repeat(1, in_channels, 1, 1)


def _layers(name: str, in_channels: int, width: float) -> list[Layer]:
    if name == "bn_inception":
        return bn_inception_layers(in_channels, width)
    if name == "inception_v3_trn":
        return inception_v3_trn_layers(in_channels)
    if name == "efficientnet_lite0":
        return efficientnet_lite0_layers(in_channels)
    if name == "tiny":
        return tiny_layers(in_channels)
    return _resnet_layers(name, in_channels)


def _resnet_layers(name: str, in_channels: int) -> list[Layer]:
    modules = dict(_resnet(name).named_children())
    set_in_channels(modules["conv1"], in_channels)
    del modules["avgpool"], modules["fc"]
    return chain(modules)


def _resnet(name: str) -> nn.Module:
    if name == "resnext101_32x4d":  # of Xie et al. 2017; mmaction2's weights are of it, torchvision does not build it
        return ResNet(Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=4)
    return torchvision.models.get_model(name)


def _offer(name: str) -> str:
    if name.startswith("vit_"):
        return "vision transformers of torchvision give tokens, no maps; choose one of " + ", ".join(BACKBONES)
    near = difflib.get_close_matches(name, BACKBONES, n=3, cutoff=0.6)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{meant}choose one of {', '.join(BACKBONES)}, or timm/<name>"
