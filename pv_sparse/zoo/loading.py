"""From a name or a file to a model, and from a model to a file that can be loaded by its path."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from pv_sparse.errors import WeightsError
from pv_sparse.models.conv_lstm import create_conv_lstm
from pv_sparse.models.eco import create_eco, create_eco_lite
from pv_sparse.models.fusion import create_eco_ensemble
from pv_sparse.models.recurrent import create_recurrent
from pv_sparse.models.trn import create_trn
from pv_sparse.models.tsn import create_tsn
from pv_sparse.zoo import files
from pv_sparse.zoo.convert import convert
from pv_sparse.zoo.state_dicts import StateDict, load_exactly, read_state_dict
from pv_sparse.zoo.weights import Weights, get_weights

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    builder.__name__: builder
    for builder in (
        create_tsn,
        create_trn,
        create_eco_lite,
        create_eco,
        create_eco_ensemble,
        create_recurrent,
        create_conv_lstm,
    )
}
METADATA_KEY = "pv_sparse"
RECORD_FIELDS = ("build", "sampler", "input", "categories", "origin", "metrics", "description")


def load_model(
    name_or_path: str | Path, num_classes: int | None = None, device: str | torch.device = "cpu"
) -> nn.Module:
    """A model with its weights, in eval mode.

    Args:
        name_or_path: a name of `list_weights()`, or a `.safetensors` file of `save_model`.
        num_classes: another number of classes than the weights have: the classifier then starts from random weights,
            everything before it from the pretrained ones.
        device: where the model goes.

    Raises:
        WeightsError: an unknown name, a missing or damaged file, a file that is not ours.
    """
    weights = find_weights(name_or_path)
    model = build_model(weights, num_classes)
    state = _read(weights, model)
    if num_classes not in (None, len(weights.categories)):
        state = _with_classifier_of(model, state)
    load_exactly(model, state, str(name_or_path), weights.build["builder"])
    return model.eval().to(device)


def save_model(model: nn.Module, path: str | Path, weights: Weights) -> None:
    """Write tensors and record into one `.safetensors` file, from which `load_model(path)` builds the model again.

    The file appears whole or not at all.

    Args:
        model: of `weights.build`, with its tensors.
        path: of the new file, ending in `.safetensors`; an existing one is replaced.
        weights: how the model is built and fed, with the categories it was trained on.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path={str(path)!r} is not allowed: its name must end in .safetensors")
    record = {name: getattr(weights, name) for name in RECORD_FIELDS} | {
        "origin": {**weights.origin, "converter": None}
    }
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / path.name
        tensors = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
        save_file(tensors, part, metadata={METADATA_KEY: json.dumps(record)})
        os.replace(part, path)


def find_weights(name_or_path: str | Path) -> Weights:
    """The record of a zoo name, or that which a file carries."""
    path = Path(name_or_path)
    if path.is_file():
        return _record_of(path)
    if path.suffix in (".safetensors", ".pth", ".pt", ".tar") and str(name_or_path) != path.name:
        raise WeightsError(f"{path}: no such weights file")
    return get_weights(str(name_or_path))


def build_model(weights: Weights, num_classes: int | None = None) -> nn.Module:
    """The model that these weights fill, with random ones."""
    arguments = dict(weights.build["arguments"])
    if num_classes is not None:
        arguments["num_classes"] = num_classes
    return BUILDERS[weights.build["builder"]](**arguments)


def _record_of(path: Path) -> Weights:
    try:
        with safe_open(path, "pt") as content:
            metadata: dict[str, str] = content.metadata() or {}
    except SafetensorError as error:
        raise WeightsError(f"{path}: it is not a .safetensors file, or it is damaged ({error})") from error
    if METADATA_KEY not in metadata:
        raise WeightsError(f"{path}: it does not say how to build its model: give a file written by save_model")
    record: dict[str, Any] = json.loads(metadata[METADATA_KEY])
    return Weights(name=str(path), file={"path": str(path)}, **record)


def _read(weights: Weights, model: nn.Module) -> StateDict:
    state = read_state_dict(files.require(weights.file, weights.name))
    return convert(state, weights.origin.get("converter"), model.state_dict())


def _with_classifier_of(model: nn.Module, state: StateDict) -> StateDict:
    """`state` with the model's own random tensors where the number of classes changed their shape."""
    own = model.state_dict()
    return {
        key: own[key] if ".head." in f".{key}" and own[key].shape != tensor.shape else tensor
        for key, tensor in state.items()
    }
