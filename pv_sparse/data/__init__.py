"""Reading videos: decoding, sampling, data sets.

Names are loaded when they are first used; `__init__.pyi` shows type checkers the same.
"""

import importlib

_HOMES = {
    "annotations": (
        "VideoList",
        "frame_folders_of",
        "read_class_folders",
        "read_hmdb51_split",
        "read_kinetics_csv",
        "read_path_list",
        "read_something_json",
        "read_ucf101_split",
        "read_videos",
    ),
    "clip_sampling": ("SegmentClipSampler",),
    "dataset": ("SparseVideoDataset",),
    "encoded_video": ("EncodedVideoSparse",),
    "factories": (
        "Hmdb51",
        "Kinetics",
        "Ucf101",
        "labeled_video_dataset",
        "sparse_decoding",
    ),
    "frame_datasets": ("Charades", "SSv2"),
    "frame_folder": ("FrameFolder",),
    "label_tables": ("read_label_table",),
    "path_handler": ("SparseVideoPathHandler",),
    "segments": ("segment_indices",),
    "video": ("SparseVideo",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [  # noqa: PLE0604 (the names of a dict are strings)
    *_HOME_OF
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'pv_sparse.data' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"pv_sparse.data.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
