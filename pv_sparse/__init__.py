"""pv_sparse: sparse-sampling action recognition (TSN, TRN, ECO) for PyTorchVideo.

Importing it is light: neither torch nor pytorchvideo is loaded before a name below is used. `__init__.pyi` shows type
checkers the same names.
"""

import importlib

from pv_sparse import compat

__version__ = "0.1.0"

_HOMES = {
    "C3DResNet18": "pv_sparse.models.resnet3d",
    "ConcatSegments": "pv_sparse.transforms",
    "EncodedVideoSparse": "pv_sparse.data.encoded_video",
    "EvaluationTransform": "pv_sparse.transforms",
    "FrameEnsemble": "pv_sparse.models.fusion",
    "FrameFolder": "pv_sparse.data.frame_folder",
    "HostBackbone": "pv_sparse.models.host",
    "LateFusion": "pv_sparse.models.fusion",
    "MultiScaleCrop": "pv_sparse.transforms",
    "Normalization": "pv_sparse.transforms",
    "NormalizeClip": "pv_sparse.transforms",
    "OnlineRecognizer": "pv_sparse.online",
    "PvSparseError": "pv_sparse.errors",
    "RandomClipFlip": "pv_sparse.transforms",
    "Recognition": "pv_sparse.recognition",
    "Recognizer": "pv_sparse.recognition",
    "SegmentClipSampler": "pv_sparse.data.clip_sampling",
    "SegmentNet": "pv_sparse.models.segment_net",
    "SegmentSubsample": "pv_sparse.transforms",
    "SparseVideo": "pv_sparse.data.video",
    "SparseVideoDataset": "pv_sparse.data.dataset",
    "SparseVideoPathHandler": "pv_sparse.data.path_handler",
    "TemporalDifference": "pv_sparse.transforms",
    "TenCrop": "pv_sparse.transforms",
    "ThreeCrop": "pv_sparse.transforms",
    "VideoDecodeError": "pv_sparse.errors",
    "VideoList": "pv_sparse.data.annotations",
    "Weights": "pv_sparse.zoo.weights",
    "WeightsError": "pv_sparse.errors",
    "adapt_first_conv": "pv_sparse.models.backbones",
    "create_backbone": "pv_sparse.models.backbones",
    "create_conv_lstm": "pv_sparse.models.conv_lstm",
    "create_eco": "pv_sparse.models.eco",
    "create_eco_ensemble": "pv_sparse.models.fusion",
    "create_eco_lite": "pv_sparse.models.eco",
    "create_multiscale_relation_head": "pv_sparse.models.host",
    "create_recurrent": "pv_sparse.models.recurrent",
    "create_sparse_video_transform": "pv_sparse.transforms",
    "create_trn": "pv_sparse.models.trn",
    "create_tsn": "pv_sparse.models.tsn",
    "doctor": "pv_sparse.doctor",
    "fold_views": "pv_sparse.transforms",
    "get_weights": "pv_sparse.zoo.weights",
    "list_weights": "pv_sparse.zoo.weights",
    "load_model": "pv_sparse.zoo.loading",
    "load_selector": "pv_sparse.zoo.scorers",
    "model_cost": "pv_sparse.models.cost",
    "optimize": "pv_sparse.inference",
    "recognize": "pv_sparse.recognition",
    "register": "pv_sparse.plugin",
    "registered": "pv_sparse.plugin",
    "save_model": "pv_sparse.zoo.saving",
    "segment_indices": "pv_sparse.data.segments",
    "sparse_decoding": "pv_sparse.data.factories",
    "unregister": "pv_sparse.plugin",
}
_SUBPACKAGES = ("data", "inference", "models", "online", "recipes", "transforms", "zoo")

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 (the names of a dict are strings)


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _SUBPACKAGES:
        value = importlib.import_module(f"pv_sparse.{name}")
    else:
        raise AttributeError(f"module 'pv_sparse' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_SUBPACKAGES})


compat.repair_on_import()
