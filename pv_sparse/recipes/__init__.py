"""Training and evaluation with Lightning (extra `train`): parts for code of one's own, and what the commands do.

Names are loaded when they are first used; `__init__.pyi` shows type checkers the same.
"""

import importlib

_HOMES = {
    "ClipInput": "inputs",
    "ExponentialAverage": "averaging",
    "History": "history",
    "Optimization": "optimization",
    "PartialBatchNorm": "batch_norm",
    "RecognitionModule": "module",
    "TaskLoss": "losses",
    "VideoDataModule": "data",
    "checkpoint_activations": "activation_checkpointing",
    "compose": "config",
    "evaluate": "evaluation",
    "freeze_batch_norm": "batch_norm",
    "fuse": "fusing",
    "get_protocol": "protocols",
    "mixup": "mixing",
    "parameter_groups": "policies",
    "progress_callbacks": "progress",
    "train": "training",
    "write_report": "report",
}

__all__ = [*_HOMES]  # noqa: PLE0604 (the names of a dict are strings)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'pv_sparse.recipes' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"pv_sparse.recipes.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
