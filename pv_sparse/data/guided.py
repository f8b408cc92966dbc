"""Sampling that looks at a video's packets before any frame is decoded: towards motion, and towards keyframes.

Pure functions over what `SparseVideo` knows from its index: the bytes that each frame takes in the file,
and `keyframes`, the frames that decoding can start from.

Both change which frames are seen, and how often:

* `motion` divides the video into segments of equal size in bytes instead of equal length in time. An encoder spends
  bytes where the picture changes, so that quiet stretches get fewer frames and busy ones more; a video that spends the
  same everywhere is sampled evenly.
* A decode budget of d moves each frame within its own segment to one that is at most d frames past a keyframe, 0 being
  the keyframe itself (`snap="keyframe"`). Time between the segments stays even, time within them does not: only 1 + d
  frames of each group of pictures are ever seen, and encoders place keyframes at cuts, whose first frames become more
  frequent. A segment without such a frame gives its first one, the nearest past a keyframe and so the cheapest;
  under random rules it keeps its draw, since its first frame every time would be no augmentation.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from pv_sparse.data.original_rules import Draw

FINENESS = 2**20  # Steps of a random place in a segment that is measured in bytes.

Segment = tuple[int, int]


def even_segments(positions: int, num_segments: int) -> list[Segment]:
    """(first, one past the last) place of each segment, of equal length."""
    edges = [i * positions // num_segments for i in range(num_segments + 1)]
    return list(pairwise(edges))


def motion_weights(packet_sizes: Sequence[int] | np.ndarray, keyframes: Sequence[int] = ()) -> np.ndarray:
    """(n,) float64: how much each frame counts. A keyframe counts as the frame after it.

    A keyframe's size tells what is in the picture, and not what moves. Frames of no known size count alike.
    """
    sizes = np.asarray(packet_sizes, dtype=np.float64)
    is_key = np.zeros(len(sizes), dtype=bool)
    is_key[list(keyframes)] = True
    weights = sizes.copy()
    followed = np.flatnonzero(is_key[:-1] & ~is_key[1:])
    weights[followed] = sizes[followed + 1]
    return weights if weights.sum() > 0 else np.ones(len(sizes))


def weighted_segments(weights: np.ndarray, num_segments: int) -> list[Segment]:
    """(first, one past the last) place of each segment, of equal weight."""
    edges = [_place(weights, i / num_segments) for i in range(num_segments)]
    return list(zip(edges, [*edges[1:], len(weights)], strict=True))


def weighted_starts(weights: np.ndarray, num_segments: int, draw: Draw | None = None) -> list[int]:
    """The place in the middle of each segment of equal weight; with `draw`, one drawn in proportion to the weights."""
    within = [draw(FINENESS) / FINENESS if draw else 0.5 for _ in range(num_segments)]
    return [_place(weights, (i + part) / num_segments) for i, part in enumerate(within)]


def distinct(starts: Sequence[int], positions: int) -> list[int]:
    """Ascending starts, at most as many as there are places, moved so that no two are the same."""
    moved = list(starts)
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + 1)
    for i, highest in zip(reversed(range(len(moved))), range(positions - 1, -1, -1), strict=False):
        moved[i] = min(moved[i], highest)
    return moved


def near_keyframes(
    starts: Sequence[int],
    segments: Sequence[Segment],
    keyframes: Sequence[int],
    budget: int,
    draw: Draw | None = None,
) -> list[int]:
    """Each start moved, within its segment, to the nearest frame that is at most `budget` frames past a keyframe.

    With `draw`, to one of those frames, each as likely as the others. A segment that has none gives its first frame;
    with `draw`, the start that it had. Starts that come in order stay in order.
    """
    moved: list[int] = []
    for i, (start, (first, stop)) in enumerate(zip(starts, segments, strict=True)):
        allowed = _allowed(first, stop, keyframes, budget)
        if allowed:
            moved.append(allowed[draw(len(allowed))] if draw else min(allowed, key=lambda frame: abs(frame - start)))
        else:
            # Originals' rules have starts outside of these segments where a video is short, or at its end.
            kept = min(start, stop - 1 if draw and first < stop else first)
            is_in_order = i > 0 and starts[i - 1] <= start
            moved.append(max(kept, moved[-1]) if is_in_order else kept)
    return moved


def _place(weights: np.ndarray, share: float) -> int:
    """The place at which this share of the whole weight lies before."""
    ends = np.cumsum(weights)
    return min(int(np.searchsorted(ends, share * ends[-1], side="right")), len(weights) - 1)


def _allowed(first: int, stop: int, keyframes: Sequence[int], budget: int) -> list[int]:
    reaching = keyframes[bisect_left(keyframes, first - budget) : bisect_left(keyframes, stop)]
    frames = {frame for key in reaching for frame in range(max(first, key), min(stop, key + budget + 1))}
    return sorted(frames)
