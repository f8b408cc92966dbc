"""TSN: every segment is classified on its own, and the video by their consensus.

Wang et al., "Temporal Segment Networks: Towards Good Practices for Deep Action Recognition", ECCV 2016; top-k and
attention are of "Temporal Segment Networks for Action Recognition in Videos", TPAMI 2018. The consensus is taken over
logits, as in yjxiong/tsn-pytorch, or over features, as in mmaction2. For `avg` and `attention` that is the same in eval
(the classifier is linear) and differs in training by its one dropout mask for all segments.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor, nn

from pv_sparse.models.backbone_weights import prepare_backbone
from pv_sparse.models.host_words import accepts_host_words, create_activation
from pv_sparse.models.logits import Logits, NumClasses, create_classifier, map_logits
from pv_sparse.models.segment_net import SegmentNet

CONSENSUS = ("avg", "max", "topk", "attention")
FUSIONS = ("logits", "features")


class ConsensusHead(nn.Module):
    """Pool, dropout, classify each segment, agree; or agree on features, and classify them.

    Args:
        in_channels: channels of the maps.
        num_classes: the classes to tell apart; `{task: number}` for several tasks.
        consensus: over the S segments, of each class: `avg`, `max`, `topk` (the mean of the k highest), or `attention`
            (weights that sum to 1, a softmax over one learned linear score a segment; they start as `avg`).
        fusion: whether the segments agree on `logits` or on `features`.
        topk: k of the consensus `topk`; all segments where there are fewer.
        dropout: probability, in training, before the classifier.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: NumClasses,
        consensus: str = "avg",
        fusion: str = "logits",
        topk: int = 3,
        dropout: float = 0.5,
    ):
        super().__init__()
        if consensus not in CONSENSUS:
            raise ValueError(f"consensus={consensus!r} is unknown: choose one of {', '.join(CONSENSUS)}")
        if fusion not in FUSIONS:
            raise ValueError(f"fusion={fusion!r} is unknown: choose one of {', '.join(FUSIONS)}")
        if topk < 1:
            raise ValueError(f"topk={topk} is not allowed: it must be at least 1")
        self.consensus = consensus
        self.fusion = fusion
        self.topk = topk
        self.dropout = nn.Dropout(dropout)
        self.fc = create_classifier(in_channels, num_classes, std=0.001)
        # No bias: a softmax would not see it.
        self.attention = nn.Linear(in_channels, 1, bias=False) if consensus == "attention" else None
        if self.attention is not None:
            nn.init.zeros_(self.attention.weight)

    def forward(self, maps: Tensor) -> Logits:
        """(N, S, C', H', W') -> (N, num_classes)."""
        features = maps.mean(dim=(3, 4))  # (N, S, C')
        if self.fusion == "features":
            return self.fc(self.dropout(self._agree(features)(features)))
        logits = self.fc(self.dropout(features))  # (N, S, num_classes)
        return map_logits(self._agree(features), logits)

    def _agree(self, features: Tensor) -> Callable[[Tensor], Tensor]:
        """(N, S, D) -> (N, D)."""
        if self.attention is not None:
            weights = self.attention(features).softmax(dim=1)  # (N, S, 1)
            return lambda values: (weights * values).sum(dim=1)
        if self.consensus == "topk":
            return lambda values: values.topk(min(self.topk, values.shape[1]), dim=1).values.mean(dim=1)
        if self.consensus == "max":
            return lambda values: values.amax(dim=1)
        return lambda values: values.mean(dim=1)


@accepts_host_words
def create_tsn(
    *,
    num_classes: NumClasses,
    backbone: str | nn.Module = "resnet50",
    backbone_weights: str | Path | None = None,
    taps: Sequence[str] | None = None,
    in_channels: int = 3,
    frames_per_segment: int = 1,
    consensus: str = "avg",
    fusion: str = "logits",
    topk: int = 3,
    dropout: float = 0.5,
    head_activation: Callable[..., nn.Module] | None = None,
) -> SegmentNet:
    """A TSN, for any number of segments.

    Args:
        num_classes: the classes to tell apart; `{"verb": 125, "noun": 352}` makes a head a task.
        backbone: a name for `create_backbone`, or a module it made.
        backbone_weights: None for random weights, `"imagenet"`, a zoo name or a file (`load_backbone_weights`).
        taps: the layer whose map is read, as of `create_backbone`; None is the last.
        in_channels: of a frame: 3 for RGB and RGB difference, 2 for flow.
        frames_per_segment: L, the frames stacked into one input: 1 for RGB, 5 for flow and RGB difference.
        consensus: `avg`, `max`, `topk` or `attention` (`ConsensusHead`).
        fusion: whether the segments agree on `logits` or on `features`.
        topk: k of the consensus `topk`.
        dropout: probability, in training, before the classifier.
        head_activation: the host's; None gives logits.

    The host's words `model_num_class`, `dropout_rate` and `input_channel` are taken as well.

    Returns:
        From videos (N, in_channels, S*L, H, W), normalised floats, to logits (N, num_classes), or a dict of them.

    Raises:
        ValueError: an unknown backbone, consensus or fusion, or numbers that make no sense.
        WeightsError: weights that do not fit the backbone.
    """
    net = prepare_backbone(backbone, backbone_weights, in_channels * frames_per_segment, taps)
    head = ConsensusHead(net.tap_channels[-1], num_classes, consensus, fusion, topk, dropout)
    return SegmentNet(net, head, frames_per_segment, activation=create_activation(head_activation))
