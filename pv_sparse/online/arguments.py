"""What `OnlineRecognizer` is given, checked before anything is loaded or downloaded."""

import os

import torch
from torch import nn

from pv_sparse.errors import WeightsError
from pv_sparse.models.eco import EcoHead
from pv_sparse.online.memories import MEMORIES, Memory, check_num_frames, create_memory
from pv_sparse.recognition import checked_device
from pv_sparse.zoo.loading import build_model, find_weights, load_model
from pv_sparse.zoo.weights import Weights

DEFAULT_NUM_FRAMES = 8  # of models that take any number, such as a TSN


def find_record(model: object, weights: object) -> Weights | None:
    """The record of a name, a file or a record; of a module, that of `weights`."""
    if isinstance(model, nn.Module):
        if weights is not None and not isinstance(weights, Weights):
            raise ValueError(f"weights={weights!r} is not allowed: give a record, such as get_weights({weights!r})")
        return weights
    if not isinstance(model, str | os.PathLike | Weights):
        told = getattr(model, "__name__", f"a {type(model).__name__}")
        raise ValueError(
            f"{told} was given as model: give a name of list_weights(), a file, a Weights record or a module, "
            "such as create_tsn(num_classes=5).eval()"
        )
    if weights is not None:
        raise ValueError("weights= goes with a module: a name or a file brings its own")
    return model if isinstance(model, Weights) else find_weights(os.fspath(model))


def find_model(model: object, record: Weights | None, device: str | None) -> nn.Module:
    """The module, or what the record loads, on its device; checked whether it can work in a stream.

    Where a file must be downloaded first, it comes on the meta device, without values, so that more can be checked.
    """
    told = {"flow": "optical flow", "rgbdiff": "differences of frames"}
    if record is not None and record.modality in told:
        raise WeightsError(
            f"{record.name} reads {told[record.modality]}, a stream has RGB frames one by one: choose RGB weights"
        )
    if isinstance(model, nn.Module):
        _check_parts(model)
        _check_is_ready(model)
        return model if device is None else model.to(device)
    assert record is not None  # of what is no module, find_record made one
    if record.is_available:
        found = load_model(record, device=device or "cpu")
    else:
        with torch.device("meta"):
            found = build_model(record)
    _check_parts(found)
    return found


def is_without_values(model: nn.Module) -> bool:
    """Whether it is on the meta device."""
    return any(tensor.is_meta for tensor in model.parameters())


def check_transform(transform: object) -> None:
    """`ValueError` for what cannot be called, or is a class."""
    if transform is not None and (isinstance(transform, type) or not callable(transform)):
        raise ValueError(
            f"transform={transform!r} is not allowed: give a module from a clip (3, 1, H, W) of uint8 to floats, such "
            "as EvaluationTransform()"
        )


def choose_memory(model: nn.Module, memory: str | Memory | None, num_frames: int | None) -> Memory:
    """The memory that was asked for, or the model's own; checked against what the model takes."""
    if num_frames is not None:
        check_num_frames(num_frames)
    is_eco = isinstance(model.head, EcoHead)
    if memory is None:
        memory = "paper" if is_eco else "window"
    if isinstance(memory, str):
        made_for = getattr(model, "num_segments", None)
        memory = create_memory(memory, (made_for or DEFAULT_NUM_FRAMES) if num_frames is None else num_frames)
    _check_memory(memory)
    if num_frames not in (None, memory.num_frames):
        raise ValueError(f"num_frames={num_frames} was given with a memory of {memory.num_frames}: leave one out")
    fixed = getattr(model.head, "num_segments", None)
    if isinstance(fixed, int) and fixed != memory.num_frames:
        raise ValueError(f"num_frames={memory.num_frames} is not allowed: the model takes {fixed} frames, no others")
    if is_eco and memory.num_frames % 4:
        raise ValueError(f"num_frames={memory.num_frames} is not allowed: ECO takes a multiple of 4")
    return memory


def _check_memory(memory: object) -> None:
    words = ("num_frames", "average", "add")
    if isinstance(memory, type) or not all(hasattr(memory, word) for word in words):
        told = memory.__name__ if isinstance(memory, type) else repr(memory)
        raise ValueError(
            f"memory={told} is not allowed: choose one of {', '.join(MEMORIES)}, or give a Memory, such as "
            "WindowMemory(8); the number of frames alone is num_frames="
        )


def _check_parts(model: nn.Module) -> None:
    if not all(isinstance(getattr(model, part, None), nn.Module) for part in ("backbone", "head")):
        raise ValueError(
            f"a {type(model).__name__} has no backbone and head that could run apart: give a model of create_tsn, "
            "create_trn, create_eco, create_eco_lite, create_recurrent or create_conv_lstm"
        )
    channels = getattr(model.backbone, "in_channels", 3)
    frames = getattr(model, "frames_per_segment", 1)
    if (channels, frames) != (3, 1):
        raise ValueError(
            f"the model reads {channels} channels of {frames} frames a segment (optical flow has 2 a frame, RGB "
            "difference several frames): a stream has RGB frames one by one"
        )


def _check_is_ready(model: nn.Module) -> None:
    if model.training:
        raise ValueError("the model is in training mode, where it answers at random: call model.eval() first")
    if is_without_values(model):
        checked_device("meta")
