"""ConvLSTM with spatial pyramid pooling: what ECO's 3-D network is compared with.

Shi et al., "Convolutional LSTM Network", NIPS 2015 (without its peepholes), under the spatial pyramid of He et al.,
"Spatial Pyramid Pooling in Deep Convolutional Networks", ECCV 2014, as Zhang et al., "Learning Spatiotemporal Features
Using 3DCNN and Convolutional LSTM for Gesture Recognition", ICCVW 2017, put them together.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pv_sparse.models.backbone_weights import prepare_backbone
from pv_sparse.models.backbones import eco_taps
from pv_sparse.models.host_words import accepts_host_words, create_activation
from pv_sparse.models.logits import Logits, NumClasses, create_classifier
from pv_sparse.models.segment_net import SegmentNet


class ConvLstmCell(nn.Module):
    """An LSTM whose state is a map, and whose gates are one 3x3 convolution over input and state."""

    def __init__(self, in_channels: int, hidden: int):
        super().__init__()
        self.hidden = hidden
        self.gates = nn.Conv2d(in_channels + hidden, 4 * hidden, kernel_size=3, padding=1)
        self.gates.bias.data[:hidden] = 1.0  # type: ignore[union-attr]  # it begins by keeping, as in `RecurrentHead`

    def forward(self, maps: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """(N, C', H', W') and the state before -> the state (output, memory), each (N, hidden, H', W')."""
        zeros = maps.new_zeros(maps.shape[0], self.hidden, *maps.shape[2:])
        output, memory = state or (zeros, zeros)
        keep, write, show, content = self.gates(torch.cat([maps, output], dim=1)).chunk(4, dim=1)
        memory = keep.sigmoid() * memory + write.sigmoid() * content.tanh()
        return show.sigmoid() * memory.tanh(), memory


class ConvLstmHead(nn.Module):
    """A ConvLSTM over the maps of the segments in order, a spatial pyramid of the last state, dropout, classify.

    Args:
        in_channels: channels of the maps.
        num_classes: the classes to tell apart; `{task: number}` for several tasks.
        hidden: channels of the state.
        levels: of the pyramid: on each, the maximum of every cell of an n by n grid.
        dropout: probability, in training, before the classifier.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: NumClasses,
        hidden: int = 128,
        levels: Sequence[int] = (1, 2, 4),
        dropout: float = 0.5,
    ):
        super().__init__()
        if not levels or min(levels) < 1:
            raise ValueError(f"levels={tuple(levels)} are not allowed: give numbers of at least 1")
        self.cell = ConvLstmCell(in_channels, hidden)
        self.levels = tuple(levels)
        self.dropout = nn.Dropout(dropout)
        self.fc = create_classifier(hidden * sum(level**2 for level in levels), num_classes)

    def forward(self, maps: Tensor) -> Logits:
        """(N, S, C', H', W') -> (N, num_classes)."""
        state = None
        for segment in maps.unbind(dim=1):
            state = self.cell(segment, state)
        pyramid = [F.adaptive_max_pool2d(state[0], level).flatten(1) for level in self.levels]  # type: ignore[index]
        return self.fc(self.dropout(torch.cat(pyramid, dim=1)))


@accepts_host_words
def create_conv_lstm(
    *,
    num_classes: NumClasses,
    hidden: int = 128,
    levels: Sequence[int] = (1, 2, 4),
    backbone: str | nn.Module = "bn_inception",
    backbone_weights: str | Path | None = None,
    taps: Sequence[str] | None = None,
    in_channels: int = 3,
    frames_per_segment: int = 1,
    dropout: float = 0.5,
    head_activation: Callable[..., nn.Module] | None = None,
) -> SegmentNet:
    """A ConvLSTM with spatial pyramid pooling, for any number of segments.

    Args:
        num_classes: the classes to tell apart; `{"verb": 125, "noun": 352}` makes a classifier a task.
        hidden, levels, dropout: as in `ConvLstmHead`.
        taps: the layer whose maps it reads; None is the one that ECO-Lite reads.
        backbone, backbone_weights, in_channels, frames_per_segment, head_activation: as in `create_tsn`.

    The host's words `model_num_class`, `dropout_rate` and `input_channel` are taken as well.

    Returns:
        From videos (N, in_channels, S*L, H, W), normalised floats, to logits (N, num_classes), or a dict of them.

    Raises:
        ValueError: an unknown backbone, or numbers that make no sense.
        WeightsError: weights that do not fit the backbone.
    """
    if isinstance(backbone, str):
        taps = taps or eco_taps(backbone)[:1]
    net = prepare_backbone(backbone, backbone_weights, in_channels * frames_per_segment, taps)
    head = ConvLstmHead(net.tap_channels[-1], num_classes, hidden, levels, dropout)
    return SegmentNet(net, head, frames_per_segment, activation=create_activation(head_activation))
