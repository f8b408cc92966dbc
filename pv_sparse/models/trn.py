"""TRN: small networks read ordered tuples of segments, at one or many scales, and their votes are summed.

Zhou et al., "Temporal Relational Reasoning in Videos", ECCV 2018; the numbers are those of zhoubolei/TRN-pytorch, which
differs from the paper's text in having one hidden layer a scale. mmaction2's head is the same. All originals draw three
tuples a scale at random, in eval too, so their figures move from run to run. Here eval gives the expected value of that
draw, exactly: the mean over all tuples of a scale, times the number that would be drawn. Training draws as they do.

All tuples cost about what the original's draw does: a linear layer over a concatenation of frames is a sum of one
product a frame and position, which the tuples share, and the classifier commutes with the mean over tuples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pv_sparse.models.backbone_weights import prepare_backbone
from pv_sparse.models.host_words import accepts_host_words, create_activation
from pv_sparse.models.logits import Logits, NumClasses, create_classifier, map_logits
from pv_sparse.models.segment_net import SegmentNet
from pv_sparse.models.tuples import draw_tuples, even_tuples

Tuples = Sequence[Sequence[int]] | Tensor
DRAWS = 3


@dataclass(frozen=True)
class TupleScore:
    """What one tuple of segments alone says about a class: `score` is its logit."""

    segments: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class Explanation:
    """Why a TRN gives a video its logit for a class.

    Attributes:
        class_index: the class.
        logit: of that class, in eval and before any `head_activation`; the sum of `scales`.
        scales: what each scale (a number of segments) adds to it.
        tuples: those that speak most for the class, best first.
    """

    class_index: int
    logit: float
    scales: dict[int, float]
    tuples: list[TupleScore]


class Relation(nn.Module):
    """One scale: a hidden layer over s segments in order, and a classifier.

    Args:
        num_segments: K, out of which tuples are taken.
        scale: s, the segments in a tuple.
        in_features: of each segment.
        hidden: width of the hidden layer.
        num_classes: of the classifier.
    """

    tuples: Tensor
    select: Tensor

    def __init__(self, num_segments: int, scale: int, in_features: int, hidden: int, num_classes: NumClasses):
        super().__init__()
        self.num_segments = num_segments
        self.hidden = TupleLinear(scale, in_features, hidden)
        self.classify = create_classifier(hidden, num_classes)
        with torch.device("cpu"):  # not on meta, where nothing would fill them
            tuples = torch.tensor(even_tuples(num_segments, scale))  # (n, s)
            self.register_buffer("tuples", tuples, persistent=False)
            self.register_buffer("select", self._selection(tuples), persistent=False)

    def forward(self, features: Tensor, tuples: Tensor | None = None) -> Tensor:
        """(N, K, D) after ReLU -> the hidden layer's outputs (N, n, hidden), for n tuples (n, s), or for all."""
        if tuples is not None:
            return F.relu(self.hidden(features[:, tuples]))
        if len(self.hidden.weight) == self.num_segments:
            return F.relu(self.hidden(features)).unsqueeze(1)
        windows = features.unfold(1, self.select.shape[1] // len(self.hidden.weight), 1)
        products = self.hidden.products(windows.transpose(2, 3))  # (N, s * segments of a position, hidden)
        sums = torch.baddbmm(self.hidden.bias, self.select.expand(len(products), -1, -1), products)
        return sums.relu_()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Relation":
        """As `nn.Module`; and the tables are filled again, since `to_empty` leaves them without values."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        tuples = torch.tensor(even_tuples(self.num_segments, len(self.hidden.weight)), device="cpu")
        self.tuples.copy_(tuples)
        self.select.copy_(self._selection(tuples))
        return self

    def _selection(self, tuples: Tensor) -> Tensor:
        """(n, s * segments of a position) of ones and zeros: which products a tuple is the sum of."""
        positions = torch.arange(tuples.shape[1], device="cpu")
        segments = self.num_segments - len(positions) + 1  # Position j sees segments j, ..., j + segments - 1.
        columns = positions * segments + tuples - positions  # (n, s)
        return torch.zeros(len(tuples), len(positions) * segments, device="cpu").scatter_(1, columns, 1.0)


class TupleLinear(nn.Module):
    """`nn.Linear` over a concatenation of s vectors, its weights kept as (s, in_features, out_features).

    In this layout the gradients of `products` can be stored as they come, which halves the time of a training step.
    """

    def __init__(self, scale: int, in_features: int, out_features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(scale, in_features, out_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        bound = (scale * in_features) ** -0.5  # as nn.Linear
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, vectors: Tensor) -> Tensor:
        """(..., s, in_features) -> (..., out_features)."""
        return vectors.flatten(-2) @ self.weight.flatten(0, 1) + self.bias

    def products(self, candidates: Tensor) -> Tensor:
        """(N, s, m, in_features), m candidates for each position -> their parts of the sum, (N, s*m, out_features)."""
        parts = torch.bmm(candidates.transpose(0, 1).flatten(1, 2), self.weight)  # (s, N*m, out_features)
        return parts.view(len(parts), len(candidates), -1, parts.shape[2]).transpose(0, 1).flatten(1, 2)


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
        nn.init.normal_(self.project.weight, std=0.001)
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
    in_channels: int = 3,
    frames_per_segment: int = 1,
    dropout: float = 0.8,
    features: int = 256,
    hidden: int | None = None,
    grid: tuple[int, int] = (1, 1),
    head_activation: Callable[..., nn.Module] | None = None,
) -> SegmentNet:
    """A TRN, for exactly `num_segments` segments.

    Args:
        num_classes: the classes to tell apart; `{"verb": 125, "noun": 352}` makes a classifier a task.
        num_segments: K, at least 2.
        multi_scale: relations over K, K-1, ..., 2 segments; or over all K only.
        backbone, backbone_weights, in_channels, frames_per_segment, head_activation: as in `create_tsn`.
        dropout: probability, in training, before the projection.
        features, hidden, grid: as in `RelationHead`.

    The host's words `model_num_class`, `dropout_rate` and `input_channel` are taken as well.

    Returns:
        From videos (N, in_channels, K*L, H, W), normalised floats, to logits (N, num_classes), or a dict of them.
        `model.explain(video)` says which segments a class rests on.

    Raises:
        ValueError: an unknown backbone, or numbers that make no sense.
        WeightsError: weights that do not fit the backbone.
    """
    net = prepare_backbone(backbone, backbone_weights, in_channels * frames_per_segment)
    head = RelationHead(net.tap_channels[-1], num_classes, num_segments, multi_scale, dropout, features, hidden, grid)
    return SegmentNet(net, head, frames_per_segment, num_segments, create_activation(head_activation))
