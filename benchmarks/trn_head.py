"""What do all 247 tuples of TRN's 8 segments cost? CPU time of the relations, forward and backward, three ways.

`loop over 19`: as the original, which draws tuples with NumPy and runs one linear layer a tuple over the concatenated
segments.
`loop over 247`: the same for every tuple. `all 247`: ours, as in eval. The head alone, from projected features
(N, 8, 256) to 174 logits. Prints a table and writes trn_head.json.
"""

import copy
import json
import platform
import statistics
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pv_sparse.models.trn import RelationHead

NUM_SEGMENTS, FEATURES, CLASSES = 8, 256, 174
ROUNDS, REPEATS = 31, 10
BATCHES = (1, 8)


class TupleLoop(nn.Module):
    """As the original: concatenate, ReLU, linear, ReLU, linear, one tuple after another; with the weights of `head`."""

    def __init__(self, head: RelationHead, most: int | None, is_weighted: bool = False):
        super().__init__()
        self.most = most
        self.scales = nn.ModuleList()
        self.tuples = []
        self.factors = []
        for relation in head.relations.values():
            hidden = nn.Linear(relation.hidden.weight.shape[:2].numel(), len(relation.hidden.bias))
            hidden.weight.data = relation.hidden.weight.detach().flatten(0, 1).t().contiguous()
            hidden.bias.data = relation.hidden.bias.detach().clone()
            self.scales.append(nn.Sequential(nn.ReLU(), hidden, nn.ReLU(), copy.deepcopy(relation.classify)))
            self.tuples.append(relation.tuples.tolist())
            self.factors.append(min(3, len(relation.tuples)) / len(relation.tuples) if is_weighted else 1.0)

    def forward(self, features: Tensor) -> Tensor:
        total = 0
        for scale, tuples, factor in zip(self.scales, self.tuples, self.factors, strict=True):
            for number in self.chosen(len(tuples)):
                logits = scale(features[:, tuples[number], :].flatten(1))
                total = total + (logits if factor == 1.0 else factor * logits)
        return total

    def chosen(self, count: int) -> Iterable[int]:
        if self.most is None or count == 1:
            return range(count)
        return np.random.choice(count, min(self.most, count), replace=False)


class AllTuples(nn.Module):
    """Ours, as in eval."""

    def __init__(self, head: RelationHead):
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        return self.head.relate(features)


def main() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    torch.set_num_threads(1)
    head = RelationHead(FEATURES, CLASSES, NUM_SEGMENTS).eval()
    check(head)
    ways = {"loop over 19": TupleLoop(head, 3), "loop over 247": TupleLoop(head, None), "all 247": AllTuples(head)}
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, one thread, ", end="")
    print(f"median CPU time of {ROUNDS} rounds of {REPEATS}, in turns")
    results = [measure(ways, batch, passes) for batch in BATCHES for passes in ("forward", "forward and backward")]
    Path(__file__).with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")


def check(head: RelationHead) -> None:
    """All tuples one by one, weighted as the draw would have it, are what ours gives."""
    features = torch.randn(2, NUM_SEGMENTS, FEATURES)
    torch.testing.assert_close(AllTuples(head)(features), TupleLoop(head, None, is_weighted=True)(features))


def measure(ways: dict[str, nn.Module], batch: int, passes: str) -> dict:
    features = torch.randn(batch, NUM_SEGMENTS, FEATURES)
    seconds = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):
        for name, way in ways.items():
            seconds[name].append(cpu_seconds(way, features, passes) / REPEATS)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    print(f"\nbatch {batch}, {passes}")
    for name, times in seconds.items():
        ratio = medians[name] / medians["loop over 19"]
        spread = f"({min(times[1:]) * 1e3:.2f} to {max(times[1:]) * 1e3:.2f})"
        print(f"{name:14} {medians[name] * 1e3:8.2f} ms  {spread:20} {ratio:6.2f} of the loop over 19")
    return {"batch": batch, "passes": passes, "seconds": medians}


def cpu_seconds(way: nn.Module, features: Tensor, passes: str) -> float:
    start = time.process_time()
    for _ in range(REPEATS):
        with torch.set_grad_enabled(passes != "forward"):
            logits = way(features.clone().requires_grad_(passes != "forward"))
        if passes != "forward":
            way.zero_grad()
            logits.square().sum().backward()
    return time.process_time() - start


if __name__ == "__main__":
    main()
