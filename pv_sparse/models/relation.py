"""One scale of TRN: a hidden layer over s segments in order, for chosen tuples, or for all of them at once."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pv_sparse.models.logits import NumClasses, create_classifier
from pv_sparse.models.tuples import even_tuples


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
        sums = torch.baddbmm(self.hidden.bias, self.select.expand(products.shape[0], -1, -1), products)
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
        return parts.view(len(parts), candidates.shape[0], -1, parts.shape[2]).transpose(0, 1).flatten(1, 2)
