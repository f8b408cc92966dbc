"""TRN: small networks read ordered tuples of segments, at one or many scales, and their votes are summed.

Zhou et al., "Temporal Relational Reasoning in Videos", ECCV 2018; the numbers are those of zhoubolei/TRN-pytorch, which
differs from the paper's text in having one hidden layer a scale. mmaction2's head is the same. All originals draw three
tuples a scale at random, in eval too, so their figures move from run to run. Here eval gives the expected value of that
draw, exactly: the mean over all tuples of a scale, times the number that would be drawn. Training draws as they do.
Above 10 segments, a scale of more than 256 tuples uses 256 of them in eval, evenly spaced (`even_tuples`).

All tuples cost about what the original's draw does: a linear layer over a concatenation of frames is a sum of one
product a frame and position, which the tuples share, and the classifier commutes with the mean over tuples.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pv_sparse.models.backbone_weights import prepare_backbone
from pv_sparse.models.explanation import Explanation, TupleScore
from pv_sparse.models.host_words import accepts_host_words, create_activation
from pv_sparse.models.logits import Logits, NumClasses, map_logits
from pv_sparse.models.relation import Relation
from pv_sparse.models.segment_net import SegmentNet
from pv_sparse.models.tuples import draw_tuples

Tuples = Sequence[Sequence[int]] | Tensor
DRAWS = 3
PROJECTION_STD = 0.001


class RelationHead(nn.Module):
    """Pool, dropout, project, relate ordered tuples of segments, sum over scales.

    Args:
        in_channels: channels of the maps.
        num_classes: the classes to tell apart; `{task: number}` for several tasks.
        num_segments: K, at least 2; fixed, since the hidden layers know it.
        multi_scale: scales K, K-1, ..., 2; or only K.
        dropout: probability, in training, before the projection.
        features: of each segment, after the projection.
        hidden: width of the hidden layers; None is the original's 256, or 512 for a single scale.
        grid: rows and columns that each map is pooled to, all of which the projection reads. (1, 1) is the original;
            more tell where things are, and so which way they go.
        draws: tuples drawn a scale in training.
        projection_std: of the projection's first weights. The original's fits features of a pretrained backbone; one
            that is trained from scratch learns several times sooner with 0.05.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: NumClasses,
        num_segments: int = 8,
        multi_scale: bool = True,
        dropout: float = 0.8,
        features: int = 256,
        hidden: int | None = None,
        grid: tuple[int, int] = (1, 1),
        draws: int = DRAWS,
        projection_std: float = PROJECTION_STD,
    ):
        super().__init__()
        if num_segments < 2:
            raise ValueError(f"num_segments={num_segments} is not allowed: a relation needs at least 2 segments")
        if len(grid) != 2 or min(*grid, draws, features, 1 if hidden is None else hidden) < 1:
            raise ValueError(
                f"grid={grid}, draws={draws}, features={features}, hidden={hidden} are not allowed: "
                "a grid has rows and columns, and each number must be at least 1"
            )
        self.num_segments = num_segments
        self.grid = (grid[0], grid[1])
        self.draws = draws
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(in_channels * grid[0] * grid[1], features)
        nn.init.normal_(self.project.weight, std=projection_std)
        nn.init.zeros_(self.project.bias)
        scales = range(num_segments, 1, -1) if multi_scale else [num_segments]
        width = hidden or (256 if multi_scale else 512)
        self.relations = nn.ModuleDict(
            {str(scale): Relation(num_segments, scale, features, width, num_classes) for scale in scales}
        )

    def forward(
        self,
        maps: Tensor,
        tuples: Mapping[int, Tuples] | None = None,
        generator: torch.Generator | None = None,
    ) -> Logits:
        """(N, K, C', H', W') -> (N, num_classes).

        Args:
            tuples: scale -> the tuples to use, in place of those that are drawn in training and of all in eval. Scales
                that it does not name use all theirs.
            generator: of the draw in training; None is torch's own (`torch.manual_seed`).

        Raises:
            ValueError: a number of segments that is not K; tuples that are none.
        """
        return self.relate(self.segment_features(maps), tuples, generator)

    def segment_features(self, maps: Tensor) -> Tensor:
        """(N, K, C', H', W') -> (N, K, features): what the relations read, before their ReLU."""
        if maps.shape[1] != self.num_segments:
            raise ValueError(
                f"a video of {maps.shape[1]} segments was given to a TRN of {self.num_segments}: sample "
                f"num_segments={self.num_segments}, or build it with num_segments={maps.shape[1]}"
            )
        pooled = F.adaptive_avg_pool2d(maps.flatten(0, 1), self.grid).flatten(1)
        return self.project(self.dropout(pooled)).view(*maps.shape[:2], -1)

    def relate(
        self,
        features: Tensor,
        tuples: Mapping[int, Tuples] | None = None,
        generator: torch.Generator | None = None,
    ) -> Logits:
        """(N, K, features) -> (N, num_classes): `forward` after the projection."""
        features = F.relu(features)
        chosen = self._chosen(tuples, generator, features.device)
        votes, weights = [], []
        for scale, relation in self._scales():
            hidden = relation(features, chosen.get(scale))
            weights.append(hidden.shape[1] if scale in chosen else min(self.draws, hidden.shape[1]))
            # The classifier is linear: that of the mean over tuples is the mean of theirs.
            votes.append(relation.classify(hidden.mean(dim=1)))
        return map_logits(partial(_weighted_sum, weights), *votes)

    @torch.no_grad()
    def explain(
        self, maps: Tensor, class_index: int | None = None, top_k: int = 5, task: str | None = None
    ) -> list[Explanation]:
        """For each video, the scales and the tuples that speak most for a class, in eval.

        Args:
            maps: (N, K, C', H', W').
            class_index: the class; None is each video's best.
            top_k: how many tuples.
            task: which one, where the head has several.
        """
        if top_k < 1:
            raise ValueError(f"top_k={top_k} is not allowed: it must be at least 1")
        features = F.relu(self.segment_features(maps))
        # (N, n, num_classes) of each scale: what a tuple says alone.
        votes = {scale: _of_task(r.classify(r(features)), task) for scale, r in self._scales()}
        shares = {scale: min(self.draws, v.shape[1]) * v.mean(dim=1) for scale, v in votes.items()}
        logits = torch.stack([*shares.values()]).sum(dim=0)  # (N, num_classes)
        if class_index is not None and not 0 <= class_index < logits.shape[1]:
            raise ValueError(f"class_index={class_index} is not allowed: the classes are 0 to {logits.shape[1] - 1}")
        best = logits.argmax(dim=1).tolist()
        return [
            self._explanation(votes, shares, n, best[n] if class_index is None else class_index, top_k)
            for n in range(len(maps))
        ]

    def _explanation(
        self, votes: Mapping[int, Tensor], shares: Mapping[int, Tensor], n: int, class_index: int, top_k: int
    ) -> Explanation:
        scales = {scale: float(share[n, class_index]) for scale, share in shares.items()}
        scores = [
            TupleScore(tuple(segments), score)
            for scale, relation in self._scales()
            for segments, score in zip(relation.tuples.tolist(), votes[scale][n, :, class_index].tolist(), strict=True)
        ]
        best = sorted(scores, key=lambda entry: entry.score, reverse=True)[:top_k]
        return Explanation(class_index, sum(scales.values()), scales, best)

    def _chosen(
        self, given: Mapping[int, Tuples] | None, generator: torch.Generator | None, device: torch.device
    ) -> dict[int, Tensor]:
        if given is not None:
            if not isinstance(given, Mapping):
                raise ValueError(f"tuples were given as a {type(given).__name__}: give a dict, scale -> its tuples")
            return {scale: self._checked(scale, tuples).to(device) for scale, tuples in given.items()}
        if not self.training:
            return {}
        return {
            scale: draw_tuples(r.tuples, self.num_segments, self.draws, generator).to(device)
            for scale, r in self._scales()
        }

    def _checked(self, scale: int, tuples: Tuples) -> Tensor:
        table = torch.as_tensor(tuples)
        if str(scale) not in self.relations:
            raise ValueError(f"tuples of scale {scale} were given: the scales are {', '.join(self.relations)}")
        is_table = table.ndim == 2 and table.shape[1] == scale and len(table) > 0 and not table.is_floating_point()
        if not is_table or not (table.diff(dim=1) > 0).all() or table.min() < 0 or table.max() >= self.num_segments:
            raise ValueError(
                f"tuples of scale {scale} must be lists of {scale} increasing numbers from 0 to {self.num_segments - 1}"
            )
        return table

    def _scales(self) -> list[tuple[int, Relation]]:
        return [(int(scale), relation) for scale, relation in self.relations.items()]  # type: ignore[misc]


def _weighted_sum(weights: Sequence[int], first: Tensor, *others: Tensor) -> Tensor:
    total = weights[0] * first
    for weight, term in zip(weights[1:], others, strict=True):
        total = torch.add(total, term, alpha=weight)
    return total


def _of_task(logits: Logits, task: str | None) -> Tensor:
    if not isinstance(logits, dict):
        return logits
    if task not in logits:
        raise ValueError(f"task={task!r} is unknown: choose one of {', '.join(logits)}")
    return logits[task]


@accepts_host_words
def create_trn(
    *,
    num_classes: NumClasses,
    num_segments: int = 8,
    multi_scale: bool = True,
    backbone: str | nn.Module = "resnet50",
    backbone_weights: str | Path | None = None,
    taps: Sequence[str] | None = None,
    in_channels: int = 3,
    frames_per_segment: int = 1,
    dropout: float = 0.8,
    features: int = 256,
    hidden: int | None = None,
    grid: tuple[int, int] = (1, 1),
    projection_std: float = PROJECTION_STD,
    head_activation: Callable[..., nn.Module] | None = None,
) -> SegmentNet:
    """A TRN, for exactly `num_segments` segments.

    Args:
        num_classes: the classes to tell apart; `{"verb": 125, "noun": 352}` makes a classifier a task.
        num_segments: K, at least 2.
        multi_scale: relations over K, K-1, ..., 2 segments; or over all K only.
        backbone, backbone_weights, taps, in_channels, frames_per_segment, head_activation: as in `create_tsn`.
        dropout: probability, in training, before the projection.
        features, hidden, grid, projection_std: as in `RelationHead`.

    The host's words `model_num_class`, `dropout_rate` and `input_channel` are taken as well.

    Returns:
        From videos (N, in_channels, K*L, H, W), normalised floats, to logits (N, num_classes), or a dict of them.
        `model.explain(video)` says which segments a class rests on.

    Raises:
        ValueError: an unknown backbone, or numbers that make no sense.
        WeightsError: weights that do not fit the backbone.
    """
    net = prepare_backbone(backbone, backbone_weights, in_channels * frames_per_segment, taps)
    head = RelationHead(
        net.tap_channels[-1],
        num_classes,
        num_segments,
        multi_scale,
        dropout,
        features,
        hidden,
        grid,
        projection_std=projection_std,
    )
    return SegmentNet(net, head, frames_per_segment, num_segments, create_activation(head_activation))
