"""State dicts: read from a file without running what a pickle holds, and loaded with one clear error."""

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pv_sparse.errors import WeightsError

StateDict = dict[str, Tensor]


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
    """The tensors of a `.safetensors` file or of a pickled state dict; nothing else a pickle holds is run.

    The `module.` that DataParallel puts before every key is taken off.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    try:
        content: Any = _read(path)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise WeightsError(f"{path}: it is damaged, or no file of tensors alone ({type(error).__name__})") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path}: it holds no plain state dict (a dict of tensors by name)")
    return {key.removeprefix("module."): tensor for key, tensor in content.items()}


def _read(path: str | Path) -> Any:
    if Path(path).suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)
