"""State dicts: read from a file without running what a pickle holds, and loaded with one clear error."""

import argparse
import contextlib
import re
import threading
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pv_sparse.errors import WeightsError
from pv_sparse.zoo.file_kinds import is_web_page, pickle_protocol

StateDict = dict[str, Tensor]
WRAPPERS = re.compile(r"^((module|_orig_mod)\.)+")  # of DataParallel, and of torch.compile
# torch's list of classes that are let through is one for all threads of a process.
_reading = threading.Lock()


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

    What DataParallel and torch.compile put before every key is taken off. Beyond tensors and plain values, one class is
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
    return Checkpoint({WRAPPERS.sub("", str(key)): tensor for key, tensor in state.items()}, about)


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with _reading, _namespaces_allowed():
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise any
        raise WeightsError(f"{path}: {_reason(path, error)}") from error


def _namespaces_allowed() -> contextlib.AbstractContextManager[Any]:
    """What a user allowed before stays allowed."""
    if argparse.Namespace in torch.serialization.get_safe_globals():
        return contextlib.nullcontext()
    return torch.serialization.safe_globals([argparse.Namespace])


def _reason(path: Path, error: Exception) -> str:
    wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
    if wanted:
        return (
            f"it wants {wanted[1]} of Python, beyond tensors and plain values, and was refused: get its state dict, "
            "alone, as .safetensors; or, where that is a class that only holds values, allow it, and it alone, with "
            "torch.serialization.add_safe_globals"
        )
    protocol = pickle_protocol(path) if "Unsupported operand" in str(error) else None
    if protocol not in (None, 2):
        return (
            f"it is pickled by protocol {protocol}, of which torch does not read all safely: save it again with "
            "torch.save, which takes 2"
        )
    if is_web_page(path):
        return "it is a web page, which was saved in place of the file: remove it, and get the file again"
    return f"it is damaged, or no file of tensors ({type(error).__name__}): remove it, and get it again"
