"""LSTM and GRU fusion: a recurrent cell reads the segments one after another, and its last state is classified.

The comparison that TRN and ECO are measured against; Donahue et al., "Long-term Recurrent Convolutional Networks",
CVPR 2015, with one cell, and with the last state alone classified. GRU: Cho et al., EMNLP 2014.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from pv_sparse.models.backbone_weights import prepare_backbone
from pv_sparse.models.host_words import accepts_host_words, create_activation
from pv_sparse.models.logits import Logits, NumClasses, create_classifier
from pv_sparse.models.segment_net import SegmentNet

CELLS: dict[str, type[nn.LSTMCell] | type[nn.GRUCell]] = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}


class RecurrentHead(nn.Module):
    """Pool, dropout, read the segments in order, classify the last state.

    Args:
        in_channels: channels of the maps.
        num_classes: the classes to tell apart; `{task: number}` for several tasks.
        cell: `lstm` or `gru`.
        hidden: width of the state.
        dropout: probability, in training, before the cell.
    """

    def __init__(
        self, in_channels: int, num_classes: NumClasses, cell: str = "lstm", hidden: int = 512, dropout: float = 0.5
    ):
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"cell={cell!r} is unknown: choose one of {', '.join(CELLS)}")
        self.dropout = nn.Dropout(dropout)
        # A cell in a loop, not nn.LSTM, which torch.compile cannot take whole.
        self.cell = CELLS[cell](in_channels, hidden)
        if isinstance(self.cell, nn.LSTMCell):
            _remember(self.cell)
        self.fc = create_classifier(hidden, num_classes)

    def forward(self, maps: Tensor) -> Logits:
        """(N, S, C', H', W') -> (N, num_classes)."""
        features = self.dropout(maps.mean(dim=(3, 4)))  # (N, S, C')
        state = None
        for segment in features.unbind(dim=1):
            state = self.cell(segment, state)
        return self.fc(state[0] if isinstance(state, tuple) else state)


def _remember(cell: nn.LSTMCell) -> None:
    """Let the gates that forget begin open, at a bias of 1, as Jozefowicz et al., ICML 2015, advise.

    Without it, a state of eight segments begins with 1/256 of the first one, and training takes twice as long.
    """
    with torch.no_grad():
        cell.bias_hh.chunk(4)[1].fill_(1.0)  # the gates of PyTorch: input, forget, cell, output


@accepts_host_words
def create_recurrent(
    *,
    num_classes: NumClasses,
    cell: str = "lstm",
    hidden: int = 512,
    backbone: str | nn.Module = "resnet50",
    backbone_weights: str | Path | None = None,
    in_channels: int = 3,
    frames_per_segment: int = 1,
    dropout: float = 0.5,
    head_activation: Callable[..., nn.Module] | None = None,
) -> SegmentNet:
    """An LSTM or a GRU over segments, for any number of them.

    Args:
        num_classes: the classes to tell apart; `{"verb": 125, "noun": 352}` makes a classifier a task.
        cell, hidden, dropout: as in `RecurrentHead`.
        backbone, backbone_weights, in_channels, frames_per_segment, head_activation: as in `create_tsn`.

    The host's words `model_num_class`, `dropout_rate` and `input_channel` are taken as well.

    Returns:
        From videos (N, in_channels, S*L, H, W), normalised floats, to logits (N, num_classes), or a dict of them.

    Raises:
        ValueError: an unknown backbone or cell.
        WeightsError: weights that do not fit the backbone.
    """
    net = prepare_backbone(backbone, backbone_weights, in_channels * frames_per_segment)
    head = RecurrentHead(net.tap_channels[-1], num_classes, cell, hidden, dropout)
    return SegmentNet(net, head, frames_per_segment, activation=create_activation(head_activation))
