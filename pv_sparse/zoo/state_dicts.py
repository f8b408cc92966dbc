"""State dicts: read from a file without running what a pickle holds, and loaded with one clear error."""

import argparse
import pickle
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pv_sparse.errors import WeightsError
from pv_sparse.zoo.web_page import is_web_page

StateDict = dict[str, Tensor]


class Checkpoint(NamedTuple):
    """What a file holds: `state`, its tensors by name, and `about`, the plain values that were saved with them."""

    state: StateDict
    about: dict[str, Any]


def load_exactly(module: nn.Module, state: StateDict, source: str, name: str) -> None:
    """`load_state_dict` with an error in one line: what does not fit, how often, and an example of each kind."""
    own = module.state_dict()
    # Files from before PyTorch 0.4.1, torchvision's among them, have no counters of batches.
    counters = {key: torch.tensor(0) for key in own if key.endswith("num_batches_tracked")}
    state = counters | state
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
    """The tensors of a file (`read_checkpoint`)."""
    return read_checkpoint(path).state


def read_checkpoint(path: str | Path) -> Checkpoint:
    """A `.safetensors` file, or a pickled state dict, alone or as the originals wrap it; nothing a pickle holds is run.

    The `module.` that DataParallel puts before every key is taken off. Beyond tensors and plain values, one class is
    let through: `argparse.Namespace`, which the files of EPIC-KITCHENS' models hold.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: the file is damaged, wants more than tensors and plain values, or is of Caffe.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    if ".caffemodel" in path.name:
        raise WeightsError(f"{path}: files of Caffe are not read here: take a PyTorch file of the model")
    content = _read(path)
    wrapped = content.get("state_dict") if isinstance(content, dict) else None
    state = content if wrapped is None else wrapped
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: it holds no state dict (a dict of tensors by name), alone or under 'state_dict'")
    about = {} if wrapped is None else {key: value for key, value in content.items() if key != "state_dict"}
    return Checkpoint({str(key).removeprefix("module."): tensor for key, tensor in state.items()}, about)


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise WeightsError(f"{path}: {_reason(path, error)}") from error


def _reason(path: Path, error: Exception) -> str:
    wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
    if wanted:
        return (
            f"it wants {wanted[1]} of Python, beyond tensors and plain values, and was refused: get its state dict, "
            "alone, as .safetensors; or, where that is a class that only holds values, allow it, and it alone, with "
            "torch.serialization.add_safe_globals"
        )
    if is_web_page(path):
        return "it is a web page, which was saved in place of the file: remove it, and get the file again"
    return f"it is damaged, or no file of tensors ({type(error).__name__}): remove it, and get it again"
