"""Pretrained weights for a backbone, from torchvision or from a file, checked key by key and shape by shape."""

from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor

from pv_sparse.errors import WeightsError
from pv_sparse.models.backbones import RESNETS, Backbone

StateDict = dict[str, Tensor]


def load_backbone_weights(backbone: Backbone, name: str, source: str | Path) -> None:
    """Fill `backbone`, a network called `name`.

    Args:
        source: `"imagenet"`, torchvision's ImageNet weights of that network (downloaded once into torch hub's
            folder), or the path of a file with its state dict, with or without classifier: `.safetensors`, or a pickle
            that loads with `weights_only=True`.

    Raises:
        WeightsError: torchvision has no such weights, or they are those of another network.
        FileNotFoundError: there is no such file.
    """
    state = _imagenet_state(name) if source == "imagenet" else read_state_dict(source)
    # The classifier of torchvision's ResNets; a backbone ends before it.
    layers = {key: value for key, value in state.items() if not key.startswith("fc.")}
    load_exactly(backbone, layers, f"backbone_weights={str(source)!r}", name)


def load_exactly(module: torch.nn.Module, state: StateDict, source: str, name: str) -> None:
    """`load_state_dict` with an error in one line: what does not fit, how often, and an example of each kind."""
    own = module.state_dict()
    faults = {
        "missing": [key for key in own if key not in state],
        "unknown": [key for key in state if key not in own],
        "of another shape": [key for key in own if key in state and own[key].shape != state[key].shape],
    }
    told = [f"{len(keys)} {kind} (such as {keys[0]})" for kind, keys in faults.items() if keys]
    if told:
        raise WeightsError(f"{source} does not fit {name}: among its tensors, {', '.join(told)}")
    module.load_state_dict(state)


def read_state_dict(path: str | Path) -> StateDict:
    """The tensors of a `.safetensors` file or of a pickled state dict; nothing else a pickle holds is run."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    if Path(path).suffix == ".safetensors":
        return load_file(path)
    content: Any = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path}: it holds no plain state dict (a dict of tensors by name)")
    return content


def _imagenet_state(name: str) -> StateDict:
    if name not in RESNETS:
        raise WeightsError(
            f"torchvision has no ImageNet weights of {name}: give a file, or one of {', '.join(RESNETS)}"
        )
    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    return weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
