"""A backbone with pretrained weights, from torchvision, timm, the zoo or a file; checked tensor by tensor."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
import torchvision
from torch import nn

from pv_sparse.errors import WeightsError
from pv_sparse.models.backbone import Backbone
from pv_sparse.models.backbones import RESNETS, averaged_over_input, create_backbone
from pv_sparse.models.feature_extraction import TORCHVISION, TimmBackbone, first_conv, flattened
from pv_sparse.zoo.addresses import is_address
from pv_sparse.zoo.convert import BACKBONE_CONVERTERS, DERIVED, FLAT_MOBILENET, convert, key_map
from pv_sparse.zoo.files import require, require_address
from pv_sparse.zoo.state_dicts import StateDict, load_exactly, read_state_dict
from pv_sparse.zoo.weights import get_weights, list_weights

PREFIX = "backbone."
OTHER_INPUT = ("googlenet", "inception_v3")
# Whole models of originals that name the layers of torchvision's networks otherwise: a key of theirs -> the converter.
OTHER_LAYERS = {"cls_head.fc_cls.weight": "mmaction2", FLAT_MOBILENET: "tsn_pytorch"}
# "imagenet" of networks that torchvision does not have
OF_ZOO = {
    "bn_inception": "bninception.yjxiong_in1k",
    "inception_v3_trn": "inceptionv3.cuhk_in1k",
    "efficientnet_lite0": "tsn_efficientnet_lite0.in1k",
}


def prepare_backbone(
    backbone: str | nn.Module,
    weights: str | Path | None,
    in_channels: int,
    taps: Sequence[str] | None = None,
    width: float = 1.0,
    num_taps: int = 1,
) -> Backbone:
    """What builders take as `backbone`, made ready: a name becomes a network with its weights, a module is checked.

    Raises:
        ValueError: weights, taps or a width for a module that is ready; a module that takes other channels; another
            number of taps than `num_taps`.
    """
    if isinstance(backbone, str):
        net = create_backbone(backbone, taps, in_channels, width)
        if weights is not None:
            load_backbone_weights(net, backbone, weights)
    else:
        if weights is not None or taps is not None or width != 1.0:
            raise ValueError("backbone_weights, taps and width are for a backbone given by name: a module has its own")
        net = _checked(backbone, in_channels)
    if len(net.tap_channels) != num_taps:
        raise ValueError(f"the backbone has {len(net.tap_channels)} taps, this head reads {num_taps}: {net.taps}")
    return net


def _checked(backbone: nn.Module, in_channels: int) -> Backbone:
    if not hasattr(backbone, "tap_channels"):
        raise ValueError(
            f"backbone is a {type(backbone).__name__} without tap_channels: give a name, what create_backbone returns, "
            "or HostBackbone(net)"
        )
    net = cast(Backbone, backbone)
    if net.in_channels != in_channels:
        frames = getattr(net, "frames_per_segment", None)
        advice = f"give frames_per_segment={frames}" if frames else "use adapt_first_conv(backbone, in_channels)"
        raise ValueError(f"the backbone takes {net.in_channels} channels, the segments have {in_channels}: {advice}")
    return net


def load_backbone_weights(backbone: Backbone, name: str, source: str | Path) -> None:
    """Fill `backbone`, a network called `name`.

    Where the weights are of RGB images and the backbone takes other channels (flow, RGB difference), the first
    convolution is filled by the rule of `adapt_first_conv`.

    Args:
        source: `"imagenet"`, torchvision's or timm's weights of that network (downloaded once into their folder), or
            the zoo's; a name of `list_weights()` whose backbone this is; or a file, by its path or its address: a state
            dict of the network, with or without classifier, or a model with this backbone, of ours or of an original.
            `.safetensors`, or a pickle that loads with `weights_only=True`.

    Raises:
        WeightsError: there are no such weights, or they are those of another network.
        FileNotFoundError: there is no such file.
    """
    state = _read(name, backbone, source)
    target = backbone.as_published
    state = _under_own_names(target, state)
    cut = tuple(f"{part}." if "." not in part else part for part in backbone.cut)
    state = {key: tensor for key, tensor in state.items() if not key.startswith(cut)}
    state |= {key: tensor for key, tensor in target.state_dict().items() if DERIVED.search(f".{key}")}
    load_exactly(target, _with_channels(target, state), f"backbone_weights={str(source)!r}", name)


def _read(name: str, backbone: Backbone, source: str | Path) -> StateDict:
    if source == "imagenet" and name in OF_ZOO:
        return _zoo_state(name, backbone, OF_ZOO[name])
    if source == "imagenet":
        return _imagenet_state(name, backbone)
    if str(source) in list_weights():
        return _zoo_state(name, backbone, str(source))
    if is_address(str(source)):
        return _of_backbone(name, backbone, read_state_dict(require_address(str(source))))
    if not Path(source).is_file() and Path(source).suffix == "":
        raise WeightsError(
            f"backbone_weights={str(source)!r} are unknown: give None, 'imagenet', a file, or a name that "
            "`pv-sparse zoo list` shows"
        )
    return _of_backbone(name, backbone, read_state_dict(source))


def _imagenet_state(name: str, backbone: Backbone) -> StateDict:
    if isinstance(backbone, TimmBackbone):
        return TimmBackbone(name.removeprefix("timm/"), backbone.taps, pretrained=True).net.state_dict()
    if name not in (*RESNETS, *TORCHVISION):
        raise WeightsError(f"torchvision has no ImageNet weights of {name}: give a file, or another backbone")
    if name in OTHER_INPUT:
        raise WeightsError(
            f"torchvision's ImageNet weights of {name} are for inputs that its own forward rescales: choose another "
            "backbone, or give the file and normalise to mean 0.5 and std 0.5"
        )
    known = torchvision.models.get_model_weights(name)
    if "IMAGENET1K_V1" not in known.__members__:
        raise WeightsError(f"torchvision has no IMAGENET1K_V1 weights of {name}, only {', '.join(known.__members__)}")
    state = known["IMAGENET1K_V1"].get_state_dict(progress=True, check_hash=True, weights_only=True)
    # The files of DenseNets have names from before modules could not have dots in theirs.
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key): t for key, t in state.items()}


def _zoo_state(name: str, backbone: Backbone, zoo_name: str) -> StateDict:
    weights = get_weights(zoo_name)
    default = "bn_inception" if weights.family == "eco" else "none that 2-D heads read"
    other = weights.build["arguments"].get("backbone", default)
    if other != name:
        raise WeightsError(f"backbone_weights={zoo_name!r} are those of the backbone {other}, not of {name}")
    state = read_state_dict(require(weights.file, weights.name))
    return _converted(name, backbone, state, weights.origin.get("converter"))


def _of_backbone(name: str, backbone: Backbone, state: StateDict) -> StateDict:
    """A file may hold a whole model, ours or an original's, or a network under its original names, or under ours."""
    for key, converter in OTHER_LAYERS.items():
        if key in state:
            return _converted(name, backbone, state, converter)
    for prefix in (PREFIX, "base_model."):
        if any(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
    if backbone.as_published is not backbone:
        return {key.removeprefix("net."): tensor for key, tensor in state.items()}
    is_ours = name not in BACKBONE_CONVERTERS or f"{PREFIX}{next(iter(state), '')}" in _full_keys(name)
    return state if is_ours else _converted(name, backbone, state, BACKBONE_CONVERTERS[name])


def _converted(name: str, backbone: Backbone, state: StateDict, converter: str | None) -> StateDict:
    """The part of a model's tensors that is the backbone's, under the keys of `as_published`."""
    if converter is not None:
        _check_depth(name, state, converter)
    ours = convert(state, converter, [PREFIX + key for key in backbone.state_dict()], may_hold_more=True)
    own = PREFIX if backbone.as_published is backbone else f"{PREFIX}net."
    return {key.removeprefix(own): tensor for key, tensor in ours.items() if key.startswith(own)}


def _check_depth(name: str, state: StateDict, converter: str) -> None:
    """Refuse a deeper network, which has more of the layers that this one has: they differ in their numbers alone."""
    used = set(key_map(converter, _full_keys(name), state).values())
    kinds = {re.sub(r"\d+", "#", key) for key in used}
    deeper = [key for key in state if key not in used and re.sub(r"\d+", "#", key) in kinds]
    if deeper:
        raise WeightsError(f"they are of a deeper network than {name}: it has no {deeper[0]} ({len(deeper)} such)")


def _full_keys(name: str) -> list[str]:
    """The keys of the uncut network, as a model has them."""
    with torch.device("meta"):
        return [PREFIX + key for key in create_backbone(name).state_dict()]


def _under_own_names(target: nn.Module, state: StateDict) -> StateDict:
    own = target.state_dict().keys()
    return {flattened(key) if key not in own and flattened(key) in own else key: t for key, t in state.items()}


def _with_channels(target: nn.Module, state: StateDict) -> StateDict:
    conv = first_conv(target)
    key = next(name for name, module in target.named_modules() if module is conv) + ".weight"
    if key not in state or state[key].shape[1] == conv.in_channels:
        return state
    return state | {key: averaged_over_input(state[key], conv.in_channels)}
