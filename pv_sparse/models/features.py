"""What a model knows of a video before it names a class: features, to search in or to train another classifier on."""

from typing import cast

from torch import Tensor, nn

from pv_sparse.models.conv_lstm import ConvLstmHead
from pv_sparse.models.eco import EcoHead
from pv_sparse.models.recurrent import RecurrentHead
from pv_sparse.models.resnet3d import C3DResNet18
from pv_sparse.models.segment_net import SegmentNet
from pv_sparse.models.trn import RelationHead
from pv_sparse.models.tsn import ConsensusHead

OF_SEGMENTS = (ConsensusHead, RelationHead, RecurrentHead, ConvLstmHead)
OF_VIDEOS = (EcoHead, C3DResNet18)


def video_features(model: nn.Module, video: Tensor) -> Tensor:
    """The features of videos, float32, for a model in eval.

    Of TSN, TRN, recurrent and ConvLSTM models, the mean of the last maps over each segment's picture; of ECO, ECO-Lite
    and C3DResNet18, what the classifier reads: one vector a video.

    Args:
        model: a model of ours, or what `optimize` made of it.
        video: (N, C, T, H, W), normalised floats.

    Returns:
        (N, S, C') of S segments, or (N, D).

    Raises:
        ValueError: a model that has no such features, or videos that it refuses.
    """
    check_has_features(model)
    if isinstance(model, SegmentNet) and isinstance(model.head, OF_SEGMENTS):
        return model.maps(video)[-1].mean(dim=(3, 4)).float()
    return _input_of_classifier(model, video).float()


def check_has_features(model: nn.Module) -> None:
    """`ValueError` for a model that `video_features` refuses, before the work."""
    head = model.head if isinstance(model, SegmentNet) else model
    if not isinstance(head, (*OF_SEGMENTS, *OF_VIDEOS)):
        raise ValueError(
            f"a {type(head).__name__} has no features of one kind: "
            "choose a TSN, a TRN, an ECO, an ECO-Lite, a recurrent or a ConvLSTM model"
        )


def _input_of_classifier(model: nn.Module, video: Tensor) -> Tensor:
    read: list[Tensor] = []
    head = cast(EcoHead | C3DResNet18, model.head if isinstance(model, SegmentNet) else model)
    handle = head.fc.register_forward_pre_hook(lambda _, arguments: read.append(arguments[0]))
    try:
        model(video)
    finally:
        handle.remove()
    return read[0]
