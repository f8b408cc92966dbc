"""From decoded frames to what a model takes.

Modules over clips (C, T, H, W), uint8 or float, with pixels from 0 to 255, of SparseVideo's decoder or of the host's.
A clip has up to 4 channels: 3 are RGB, 2 are optical flow, x and y as pictures. No module changes its input: the host
gives the same clip again where one clip is augmented several times. Chance comes from torch's global generator, one
draw a clip, so that a worker's seed decides.
"""

from pv_sparse.transforms.cropping import MultiScaleCrop, crop_offsets, crop_pairs
from pv_sparse.transforms.difference import TemporalDifference
from pv_sparse.transforms.evaluation import EvaluationTransform
from pv_sparse.transforms.factory import create_sparse_video_transform
from pv_sparse.transforms.flipping import RandomClipFlip, flip_clip
from pv_sparse.transforms.label_flipping import LABEL_FLIPS, RandomLabelFlip
from pv_sparse.transforms.normalization import NORMALIZATIONS, Normalization, NormalizeClip
from pv_sparse.transforms.segments import ConcatSegments, SegmentSubsample
from pv_sparse.transforms.views import TenCrop, ThreeCrop, fold_views

__all__ = [
    "ConcatSegments",
    "EvaluationTransform",
    "LABEL_FLIPS",
    "MultiScaleCrop",
    "NORMALIZATIONS",
    "Normalization",
    "NormalizeClip",
    "RandomClipFlip",
    "RandomLabelFlip",
    "SegmentSubsample",
    "TemporalDifference",
    "TenCrop",
    "ThreeCrop",
    "create_sparse_video_transform",
    "crop_offsets",
    "crop_pairs",
    "flip_clip",
    "fold_views",
]
