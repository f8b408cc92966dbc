"""Ordered tuples of segments: which s of K a relation looks at together."""

import itertools
import math

import torch
from torch import Tensor

MOST_TUPLES = 256


def even_tuples(num_segments: int, scale: int, most: int = MOST_TUPLES) -> list[tuple[int, ...]]:
    """Increasing `scale`-tuples out of `num_segments`, in lexicographic order.

    All of them where there are at most `most` (so up to 10 segments); else `most`, evenly spaced over that order, each
    in the middle of its share.
    """
    count = math.comb(num_segments, scale)
    if count <= most:
        return list(itertools.combinations(range(num_segments), scale))
    return [_tuple_at((2 * i + 1) * count // (2 * most), num_segments, scale) for i in range(most)]


def draw_tuples(tuples: Tensor, num_segments: int, draws: int, generator: torch.Generator | None) -> Tensor:
    """`draws` tuples (draws, s) at random, without replacement; all of them where there are no more.

    Out of `tuples` (n, s) where those are all there are; else out of every one there could be, where a repetition is
    possible, and rare.
    """
    total, scale = math.comb(num_segments, tuples.shape[1]), tuples.shape[1]
    if total == len(tuples):
        return tuples[torch.randperm(total, generator=generator)[:draws]]
    order = torch.rand(draws, num_segments, generator=generator).argsort(dim=1)
    return order[:, :scale].sort(dim=1).values


def _tuple_at(rank: int, num_segments: int, scale: int) -> tuple[int, ...]:
    """The tuple at this place of the lexicographic order."""
    chosen: list[int] = []
    for segment in range(num_segments):
        left = scale - len(chosen)
        if not left:
            break
        starting_here = math.comb(num_segments - segment - 1, left - 1)
        if rank < starting_here:
            chosen.append(segment)
        else:
            rank -= starting_here
    return tuple(chosen)
