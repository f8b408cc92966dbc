"""Videos, the frames to look at, and the datasets of the host with our decoder.

The names below are loaded when they are used; `__init__.pyi` shows them to type checkers.
"""

import importlib

_HOMES = {
    "Charades": "pv_sparse.data.frame_datasets",
    "Hmdb51": "pv_sparse.data.factories",
    "Kinetics": "pv_sparse.data.factories",
    "SSv2": "pv_sparse.data.frame_datasets",
    "Ucf101": "pv_sparse.data.factories",
    "labeled_video_dataset": "pv_sparse.data.factories",
    "sparse_decoding": "pv_sparse.data.factories",
}

__all__ = [*_HOMES]  # noqa: PLE0604 (the names of a dict are strings)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'pv_sparse.data' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
