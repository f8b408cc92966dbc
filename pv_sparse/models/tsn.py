"""TSN: every segment is classified on its own, and the video by their consensus.

Wang et al., "Temporal Segment Networks: Towards Good Practices for Deep Action Recognition", ECCV 2016. The consensus
is taken over logits, as in yjxiong/tsn-pytorch; mmaction2 averages features instead, which is the same in eval (the
classifier is linear) and differs in training by its one dropout mask for all segments.
"""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from pv_sparse.models.backbone_weights import load_backbone_weights
from pv_sparse.models.backbones import create_backbone
from pv_sparse.models.segment_net import SegmentNet

CONSENSUS: dict[str, Callable[[Tensor], Tensor]] = {
    "avg": lambda logits: logits.mean(dim=1),
    "max": lambda logits: logits.amax(dim=1),
}


class ConsensusHead(nn.Module):
    """Pool, dropout, classify each segment, agree.

    Args:
        in_channels: channels of the maps.
        num_classes: the classes to tell apart.
        consensus: over the S segments, `avg` or `max` of each class's logits.
        dropout: probability, in training, before the classifier.
    """

    def __init__(self, in_channels: int, num_classes: int, consensus: str = "avg", dropout: float = 0.5):
        super().__init__()
        if consensus not in CONSENSUS:
            raise ValueError(f"consensus={consensus!r} is unknown: choose one of {', '.join(CONSENSUS)}")
        if num_classes < 1:
            raise ValueError(f"num_classes={num_classes} is not allowed: it must be at least 1")
        self.consensus = consensus
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(in_channels, num_classes)
        nn.init.normal_(self.fc.weight, std=0.001)
        nn.init.zeros_(self.fc.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, S, C', H', W') -> (N, num_classes)."""
        features = maps.mean(dim=(3, 4))  # (N, S, C')
        logits = self.fc(self.dropout(features))  # (N, S, num_classes)
        return CONSENSUS[self.consensus](logits)


def create_tsn(
    *,
    num_classes: int,
    backbone: str = "resnet50",
    backbone_weights: str | Path | None = None,
    consensus: str = "avg",
    dropout: float = 0.5,
) -> SegmentNet:
    """A TSN over RGB frames, for any number of segments.

    Args:
        num_classes: the classes to tell apart.
        backbone: `efficientnet_lite0`, or a ResNet of torchvision by its name there.
        backbone_weights: None for random weights, `"imagenet"`, or a file (`load_backbone_weights`).
        consensus: over the segments, `avg` or `max` of each class's logits.
        dropout: probability, in training, before the classifier.

    Returns:
        From videos (N, 3, S, H, W), normalised floats, to logits (N, num_classes).

    Raises:
        ValueError: an unknown backbone or consensus.
        WeightsError: weights that do not fit the backbone.
    """
    net = create_backbone(backbone)
    if backbone_weights is not None:
        load_backbone_weights(net, backbone, backbone_weights)
    return SegmentNet(net, ConsensusHead(net.tap_channels[-1], num_classes, consensus, dropout))
