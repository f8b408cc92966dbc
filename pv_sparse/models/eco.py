"""ECO: a 2-D network sees each frame only in part; a 3-D network reads these maps of all frames together.

Zolfaghari et al., "ECO: Efficient Convolutional Network for Online Video Understanding", ECCV 2018. ECO-Lite is that;
ECO also lets the 2-D network see every frame to the end, and averages. The Caffe and the PyTorch original are the same
network; they differ in the dropout of training, where the values here are those of ECO-pytorch.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pv_sparse.models.backbone import Backbone
from pv_sparse.models.backbone_weights import prepare_backbone
from pv_sparse.models.backbones import eco_taps
from pv_sparse.models.eco_weights import load_c3d_weights
from pv_sparse.models.host_words import accepts_host_words, create_activation
from pv_sparse.models.logits import Logits, NumClasses, create_classifier
from pv_sparse.models.resnet3d import eco_net, initialise
from pv_sparse.models.segment_net import SegmentNet


class EcoHead(nn.Module):
    """A 3-D network over the maps of all frames, pool, dropout, classify; with the mean of 2-D features beside it.

    Args:
        in_channels: channels of the maps that the 3-D network reads.
        num_classes: the classes to tell apart; `{task: number}` for several tasks.
        width: factor of the 3-D network's channels.
        dropout: probability, in training, of the 3-D features.
        channels_2d: channels of the last 2-D maps, for ECO; None for ECO-Lite.
        dropout_2d: probability, in training, of each frame's 2-D features.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: NumClasses,
        width: float = 1.0,
        dropout: float = 0.3,
        channels_2d: int | None = None,
        dropout_2d: float = 0.5,
    ):
        super().__init__()
        self.net = eco_net(in_channels, width)
        self.dropout = nn.Dropout(dropout)
        self.dropout_2d = nn.Dropout(dropout_2d)
        self.fc = create_classifier((channels_2d or 0) + self.net.out_channels, num_classes)
        initialise(self)

    def forward(self, maps: Tensor, last_maps: Tensor | None = None) -> Logits:
        """(N, T, C', H', W') and, for ECO, (N, T, C'', H'', W'') -> (N, num_classes)."""
        num_frames = maps.shape[1]
        if num_frames % 4:
            raise ValueError(
                f"a video of {num_frames} frames was given to ECO, which halves them twice: "
                f"sample a multiple of 4, such as {4 * (num_frames // 4 + 1)}"
            )
        features = self.dropout(self.net(maps.transpose(1, 2)).mean(dim=(2, 3, 4)))
        if last_maps is not None:
            features_2d = self.dropout_2d(last_maps.mean(dim=(3, 4))).mean(dim=1)
            features = torch.cat([features_2d, features], dim=1)
        return self.fc(features)


@accepts_host_words
def create_eco_lite(
    *,
    num_classes: NumClasses,
    num_segments: int = 16,
    width: float = 1.0,
    backbone: str | nn.Module = "bn_inception",
    backbone_weights: str | Path | None = None,
    c3d_weights: str | Path | None = None,
    taps: Sequence[str] | None = None,
    in_channels: int = 3,
    frames_per_segment: int = 1,
    dropout: float = 0.3,
    head_activation: Callable[..., nn.Module] | None = None,
) -> SegmentNet:
    """ECO-Lite, for any number of segments that is a multiple of 4.

    Args:
        num_classes: the classes to tell apart; `{"verb": 125, "noun": 352}` makes a classifier a task.
        num_segments: how many it is made for; it takes any other multiple of 4.
        width: factor of all channels, 2-D (`bn_inception` only) and 3-D; 1.0 is the original.
        backbone, backbone_weights, in_channels, frames_per_segment, head_activation: as in `create_tsn`.
        c3d_weights: of C3DRes18, for the 3-D network (`load_c3d_weights`): a file.
        taps: the layer whose maps the 3-D network reads; None is known for `bn_inception`, `tiny`, `efficientnet_lite0`
            and the ResNets: the maps of 1/8 of the image's size.
        dropout: probability, in training, before the classifier; the original has 0.3 on Kinetics, 0.6 on UCF101.

    The host's words `model_num_class`, `dropout_rate` and `input_channel` are taken as well.

    Returns:
        From videos (N, in_channels, S*L, H, W), normalised floats, to logits (N, num_classes), or a dict of them.

    Raises:
        ValueError: an unknown backbone, or numbers that make no sense.
        WeightsError: weights that do not fit.
    """
    _check(num_segments, width)
    channels = in_channels * frames_per_segment
    net = _backbone(backbone, backbone_weights, channels, taps, width, number=1)
    head = EcoHead(net.tap_channels[0], num_classes, width, dropout)
    if c3d_weights is not None:
        load_c3d_weights(head.net, c3d_weights, with_stem=True)
    return SegmentNet(net, head, frames_per_segment, num_segments, create_activation(head_activation))


@accepts_host_words
def create_eco(
    *,
    num_classes: NumClasses,
    num_segments: int = 16,
    width: float = 1.0,
    backbone: str | nn.Module = "bn_inception",
    backbone_weights: str | Path | None = None,
    c3d_weights: str | Path | None = None,
    taps: Sequence[str] | None = None,
    in_channels: int = 3,
    frames_per_segment: int = 1,
    dropout: float = 0.3,
    dropout_2d: float = 0.5,
    head_activation: Callable[..., nn.Module] | None = None,
) -> SegmentNet:
    """ECO, for any number of segments that is a multiple of 4. Arguments, result and errors as `create_eco_lite`, and:

    Args:
        taps: two layers: the maps that the 3-D network reads, and the last ones.
        dropout_2d: probability, in training, of each frame's 2-D features.
    """
    _check(num_segments, width)
    channels = in_channels * frames_per_segment
    net = _backbone(backbone, backbone_weights, channels, taps, width, number=2)
    head = EcoHead(net.tap_channels[0], num_classes, width, dropout, net.tap_channels[1], dropout_2d)
    if c3d_weights is not None:
        load_c3d_weights(head.net, c3d_weights, with_stem=False)
    return SegmentNet(net, head, frames_per_segment, num_segments, create_activation(head_activation))


def _backbone(
    backbone: str | nn.Module,
    weights: str | Path | None,
    in_channels: int,
    taps: Sequence[str] | None,
    width: float,
    number: int,
) -> Backbone:
    if isinstance(backbone, str):
        taps = taps or eco_taps(backbone)[:number]
    scale = width if backbone == "bn_inception" else 1.0
    return prepare_backbone(backbone, weights, in_channels, taps, scale, number)


def _check(num_segments: int, width: float) -> None:
    if num_segments < 4 or num_segments % 4:
        raise ValueError(f"num_segments={num_segments} is not allowed: ECO takes a multiple of 4")
    if width <= 0:
        raise ValueError(f"width={width} is not allowed: it must be more than 0")
