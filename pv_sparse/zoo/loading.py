"""From a name, a file or an address to a model."""

import json
import logging
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from pv_sparse.errors import WeightsError
from pv_sparse.models.conv_lstm import create_conv_lstm
from pv_sparse.models.eco import create_eco, create_eco_lite
from pv_sparse.models.fusion import create_eco_ensemble
from pv_sparse.models.host_words import in_our_words
from pv_sparse.models.recurrent import create_recurrent
from pv_sparse.models.resnet3d import C3DResNet18
from pv_sparse.models.trn import create_trn
from pv_sparse.models.tsn import create_tsn
from pv_sparse.zoo import files
from pv_sparse.zoo.addresses import is_address
from pv_sparse.zoo.convert import DERIVED, convert
from pv_sparse.zoo.detect import describe
from pv_sparse.zoo.state_dicts import StateDict, load_exactly, read_checkpoint, read_state_dict
from pv_sparse.zoo.weights import Weights, get_weights, list_weights

logger = logging.getLogger(__name__)
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
        C3DResNet18,
    )
}
STARTS = ("backbone_weights", "c3d_weights")
METADATA_KEY = "pv_sparse"
# Of the tensors of a scorer of looks, which lie beside the model's (`pv_sparse.zoo.scorers`).
SCORER_PREFIX = "scorer."
# What a number of classes decides the shape of, in every head.
CLASSIFIER = re.compile(r"^(?!.*backbone\.)(.*\.)?(fc|classify)\.")


def load_model(
    name_or_path: str | Path | Weights,
    num_classes: int | Mapping[str, int] | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    progress: bool = True,
    build_arguments: Mapping[str, Any] | None = None,
) -> nn.Module:
    """A model with its weights, in eval mode.

    A file that is not here is downloaded once, verified, and kept (`pv_sparse.zoo.files`). Of a file of an original,
    family, modality, classes and segments are read from the names and shapes of its tensors, and logged as a warning.

    Args:
        name_or_path: a name of `list_weights()`, or a file: of `save_model`, or a checkpoint of tsn-pytorch,
            TRN-pytorch, ECO-pytorch, mmaction2 or EPIC-KITCHENS' models, as they wrote it; or the address of such a
            file, `https://`, `file://` or `hf://owner/repo/file`; or the record of any of them.
        num_classes: another number of classes than the weights have, or `{task: number}`: the classifier then starts
            from random weights, everything before it from the pretrained ones; a warning is logged.
        device: where the model goes.
        dtype: of its floating point tensors, such as `torch.float16`; None keeps float32.
        progress: whether a download shows a bar.
        build_arguments: in place of, or beside those of the record, such as `{"dropout": 0.8}`.

    Raises:
        WeightsError: an unknown name; a file that is missing, damaged, or not of these; tensors that do not fit.
        TypeError, ValueError: build arguments that the builder refuses; a number of classes among them.
    """
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype={dtype!r} is not allowed: give a torch.dtype, such as torch.float16")
    weights = name_or_path if isinstance(name_or_path, Weights) else find_weights(name_or_path, progress)
    model = build_model(weights, num_classes, build_arguments)
    state = read_state_dict(files.require(weights.file, weights.name, progress))
    if weights.scorer:
        state = {key: tensor for key, tensor in state.items() if not key.startswith(SCORER_PREFIX)}
    if num_classes in (None, weights.num_classes):
        state = _under_our_keys(state, weights, model.state_dict())
    else:
        published = shapes(weights, build_arguments)
        state = _with_own_classifier(_under_our_keys(state, weights, published, CLASSIFIER), model.state_dict())
        _report_new_classifier(weights, num_classes)
    constants = {key: tensor for key, tensor in model.state_dict().items() if DERIVED.search(key)}
    load_exactly(model, constants | state, weights.name, weights.build["builder"])
    return model.eval().to(device=device, dtype=dtype)


def find_weights(name_or_path: str | Path, progress: bool = True) -> Weights:
    """The record of a zoo name, that which a file of ours carries, or what is found in an original's file.

    The file of an address is downloaded first.
    """
    if str(name_or_path) in list_weights():
        return get_weights(str(name_or_path))
    if is_address(str(name_or_path)):
        return _record_of(files.require_address(str(name_or_path), progress), str(name_or_path))
    path = Path(name_or_path)
    if path.is_file():
        return _record_of(path, str(path))
    if path.suffix in (".safetensors", ".pth", ".pt", ".tar", ".ckpt") or str(name_or_path) != path.name:
        raise WeightsError(f"{path}: no such weights file")
    return get_weights(str(name_or_path))


def build_model(
    weights: Weights,
    num_classes: int | Mapping[str, int] | None = None,
    build_arguments: Mapping[str, Any] | None = None,
) -> nn.Module:
    """The model that these weights fill, with random ones."""
    if weights.unsupported:
        raise WeightsError(f"{weights.name} cannot be loaded: {weights.unsupported}")
    if weights.build["builder"] not in BUILDERS:
        raise WeightsError(f"{weights.name}: its builder {weights.build['builder']!r} is none of {', '.join(BUILDERS)}")
    given = in_our_words("build_model", build_arguments or {})
    if "num_classes" in given:
        raise TypeError("build_arguments may not hold a number of classes: give num_classes=")
    # What a model once started from is in its file by now, and no file may make others be fetched.
    recorded = {word: value for word, value in weights.build["arguments"].items() if word not in STARTS}
    arguments = {**recorded, **given}
    if num_classes is not None:
        arguments["num_classes"] = num_classes
    return BUILDERS[weights.build["builder"]](**arguments)


def shapes(weights: Weights, build_arguments: Mapping[str, Any] | None = None) -> StateDict:
    """The state dict of the model as published, on the meta device."""
    with torch.device("meta"):
        return build_model(weights, None, build_arguments).state_dict()


def _record_of(path: Path, name: str) -> Weights:
    record = _own_record(path) if path.suffix == ".safetensors" else None
    if record is None:
        record = describe(read_checkpoint(path), str(path))
        logger.warning("%s: read as %s", name, record["description"])
    return Weights.from_record(name, {**record, "file": {"path": str(path)}})


def _own_record(path: Path) -> dict[str, Any] | None:
    """What `save_model` wrote into the file; None where somebody else made it."""
    try:
        with safe_open(path, "pt") as content:
            metadata: dict[str, str] = content.metadata() or {}
    except SafetensorError as error:
        raise WeightsError(f"{path}: it is not a .safetensors file, or it is damaged ({error})") from error
    try:
        return json.loads(metadata[METADATA_KEY]) if METADATA_KEY in metadata else None
    except ValueError as error:
        raise WeightsError(f"{path}: its record is damaged ({error})") from error


def _under_our_keys(
    state: StateDict, weights: Weights, our_keys: Collection[str], optional: re.Pattern[str] | None = None
) -> StateDict:
    try:
        return convert(state, weights.origin.get("converter"), our_keys, optional)
    except WeightsError as error:
        raise WeightsError(f"{weights.name}: {error}") from error


def _with_own_classifier(state: StateDict, own: StateDict) -> StateDict:
    """What of the classifier is missing or of another size stays as the model has it, at random."""
    fitting = {key for key, tensor in state.items() if key in own and own[key].shape == tensor.shape}
    kept = {key: tensor for key, tensor in state.items() if key in fitting or not CLASSIFIER.search(key)}
    return {key: tensor for key, tensor in own.items() if CLASSIFIER.search(key)} | kept


def _report_new_classifier(weights: Weights, num_classes: int | Mapping[str, int] | None) -> None:
    logger.warning(
        "%s: where it does not fit, the classifier starts from random weights, for num_classes=%s in place of %s",
        weights.name,
        num_classes,
        weights.num_classes,
    )
