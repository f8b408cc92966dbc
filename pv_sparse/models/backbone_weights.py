"""A backbone with pretrained weights, from torchvision, timm, the zoo or a file; checked tensor by tensor."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
import torchvision
from torch import nn

from pv_sparse.errors import WeightsError
from pv_sparse.models.backbone import Backbone
from pv_sparse.models.backbones import RESNETS, averaged_over_input, create_backbone
from pv_sparse.models.feature_extraction import TORCHVISION, TimmBackbone, first_conv
from pv_sparse.zoo.convert import BACKBONE_CONVERTERS, convert
from pv_sparse.zoo.files import require
from pv_sparse.zoo.state_dicts import StateDict, load_exactly, read_state_dict
from pv_sparse.zoo.weights import get_weights, list_weights

PREFIX = "backbone."


def prepare_backbone(
    backbone: str | nn.Module,
    weights: str | Path | None,
    in_channels: int,
    taps: Sequence[str] | None = None,
    width: float = 1.0,
) -> Backbone:
    """What builders take as `backbone`, made ready: a name becomes a network with its weights, a module is checked.

    Raises:
        ValueError: weights, taps or a width for a module that is ready; a module that takes other channels.
    """
    if isinstance(backbone, str):
        net = create_backbone(backbone, taps, in_channels, width)
        if weights is not None:
            load_backbone_weights(net, backbone, weights)
        return net
    if weights is not None or width != 1.0:
        raise ValueError("backbone_weights and width are for a backbone given by name: a module brings its own")
    if not hasattr(backbone, "tap_channels"):
        raise ValueError(
            f"backbone is a {type(backbone).__name__} without tap_channels: give a name, what create_backbone returns, "
            "or HostBackbone(net)"
        )
    if getattr(backbone, "in_channels", in_channels) != in_channels:
        raise ValueError(
            f"the backbone takes {backbone.in_channels} channels, the segments have {in_channels}: "
            "use adapt_first_conv(backbone, in_channels)"
        )
    return cast(Backbone, backbone)


def load_backbone_weights(backbone: Backbone, name: str, source: str | Path) -> None:
    """Fill `backbone`, a network called `name`.

    Where the weights are of RGB images and the backbone takes other channels (flow, RGB difference), the first
    convolution is filled by the rule of `adapt_first_conv`.

    Args:
        source: `"imagenet"`, torchvision's or timm's weights of that network (downloaded once into their folder); a
            name of `list_weights()` whose backbone this is; or the path of a file: a state dict of the network, with or
            without classifier, or a model of ours with this backbone. `.safetensors`, or a pickle that loads with
            `weights_only=True`.

    Raises:
        WeightsError: there are no such weights, or they are those of another network.
        FileNotFoundError: there is no such file.
    """
    state = _read(name, backbone, source)
    target = backbone.as_published
    cut = tuple(f"{part}." if "." not in part else part for part in backbone.cut)
    state = {key: tensor for key, tensor in state.items() if not key.startswith(cut)}
    # Feature extraction keeps what a network computed of its sizes alone as constants, under names of its own.
    state |= {key: tensor for key, tensor in target.state_dict().items() if key.startswith("_tensor_constant")}
    load_exactly(target, _with_channels(target, state), f"backbone_weights={str(source)!r}", name)


def _read(name: str, backbone: Backbone, source: str | Path) -> StateDict:
    if source == "imagenet":
        return _imagenet_state(name, backbone)
    if str(source) in list_weights():
        return _zoo_state(name, str(source))
    if not Path(source).is_file() and Path(source).suffix == "":
        raise WeightsError(
            f"backbone_weights={str(source)!r} are unknown: give None, 'imagenet', a file, or one of "
            f"{', '.join(list_weights())}"
        )
    return _of_backbone(name, read_state_dict(source))


def _imagenet_state(name: str, backbone: Backbone) -> StateDict:
    if isinstance(backbone, TimmBackbone):
        return TimmBackbone(name.removeprefix("timm/"), backbone.taps, pretrained=True).net.state_dict()
    if name not in (*RESNETS, *TORCHVISION):
        raise WeightsError(f"torchvision has no ImageNet weights of {name}: give a file, or another backbone")
    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    return weights.get_state_dict(progress=True, check_hash=True, weights_only=True)


def _zoo_state(name: str, zoo_name: str) -> StateDict:
    weights = get_weights(zoo_name)
    other = weights.build["arguments"]["backbone"]
    if other != name:
        raise WeightsError(f"backbone_weights={zoo_name!r} are those of the backbone {other}, not of {name}")
    state = read_state_dict(require(weights.file, weights.name))
    return _converted(name, state, weights.origin.get("converter"))


def _of_backbone(name: str, state: StateDict) -> StateDict:
    """A file may hold a whole model of ours, or a network under its original names; else it has our keys."""
    if any(key.startswith(PREFIX) for key in state):
        return _converted(name, state, None)
    is_ours = name not in BACKBONE_CONVERTERS or f"{PREFIX}{next(iter(state), '')}" in _full_keys(name)
    return state if is_ours else _converted(name, state, BACKBONE_CONVERTERS[name])


def _converted(name: str, state: StateDict, converter: str | None) -> StateDict:
    """The part of a model's tensors that is the backbone's, under its own keys."""
    ours = convert(state, converter, _full_keys(name), partial=True)
    return {key.removeprefix(PREFIX): tensor for key, tensor in ours.items() if key.startswith(PREFIX)}


def _full_keys(name: str) -> list[str]:
    """The keys of the uncut network, as a model has them."""
    with torch.device("meta"):
        return [PREFIX + key for key in create_backbone(name).state_dict()]


def _with_channels(target: nn.Module, state: StateDict) -> StateDict:
    conv = first_conv(target)
    key = next(name for name, module in target.named_modules() if module is conv) + ".weight"
    if key not in state or state[key].shape[1] == conv.in_channels:
        return state
    return state | {key: averaged_over_input(state[key], conv.in_channels)}
