"""Recognition that stops when it is sure: frames come coarse to fine, and what the 2-D network made of them is kept.

After the middle frame, the quarters, the eighths and so on, the head is asked; it stops at the first answer whose score
is high enough. Of TSN, frames agree, however few they are. A head that was made for a number of segments (TRN, ECO) is
shown, in each of its places, the nearest frame that is known, and may stop when half of its places have their own.
As Teerapittayanon et al., "BranchyNet", ICPR 2016, leave a network early; here a video is left early.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pv_sparse.data.video import SparseVideo
from pv_sparse.looking import Look, Viewer, look_at
from pv_sparse.models.logits import Logits, map_logits, to_scores
from pv_sparse.models.segment_net import SegmentNet

# By segment, its frames, and its maps, each (C', H', W').
Seen = dict[int, tuple[Look, list[Tensor]]]


@dataclass(frozen=True)
class EarlyExit:
    """When to stop.

    Args:
        confidence: in (0, 1]: the score of the best class at which it stops; of several tasks, that of the least sure.
        max_segments: at most so many segments are looked at.

    Raises:
        ValueError: numbers outside of that.
    """

    confidence: float
    max_segments: int = 16

    def __post_init__(self) -> None:
        if not 0 < self.confidence <= 1:
            raise ValueError(f"confidence={self.confidence} is not allowed: it must be above 0, and at most 1")
        if self.max_segments < 1:
            raise ValueError(f"max_segments={self.max_segments} is not allowed: it must be at least 1")


def coarse_to_fine(num_segments: int) -> list[list[int]]:
    """Segment numbers in rounds: the middle one, then those at the quarters, the eighths, until all are named.

    8: [4], [2, 6], [1, 3, 5, 7], [0].
    """
    rounds: list[list[int]] = []
    named: set[int] = set()
    parts = 2
    while len(named) < num_segments:
        places = {odd * num_segments // parts for odd in range(1, parts, 2)} - named
        rounds += [sorted(places)] if places else []
        named |= places
        parts *= 2
    return rounds


def nearest_known(known: Sequence[int], num_segments: int, num_places: int) -> list[int]:
    """For each of a head's places, spread evenly over the segments, which of the known segments lies nearest.

    Args:
        known: segment numbers, ascending, at least one.
        num_segments: that there are.
        num_places: of the head.

    Returns:
        `num_places` positions in `known`, ascending.
    """
    middles = [(place + 0.5) * num_segments / num_places - 0.5 for place in range(num_places)]
    return [min(range(len(known)), key=lambda i: abs(known[i] - middle)) for middle in middles]


def check_can_exit(model: nn.Module, viewer: Viewer) -> None:
    """`ValueError` for a model or a test that cannot stop early."""
    if not isinstance(model, SegmentNet):
        raise ValueError(
            f"a {type(model).__name__} reads all frames at once and cannot stop early: choose a TSN or a TRN, "
            "or leave out confidence"
        )
    if viewer.weights.multi_label:
        raise ValueError(
            f"{viewer.weights.name} names several classes at a time, and is never sure: leave out confidence"
        )
    if viewer.all_views:
        raise ValueError("all views of the published test are shown at once: leave out confidence, or all views")


@torch.inference_mode()
def look_until_sure(model: SegmentNet, viewer: Viewer, video: SparseVideo, rule: EarlyExit) -> tuple[Look, Logits]:
    """What was seen, in order of time, and the scores (num_classes,) of it, or a dict of them by task.

    Args:
        model: in eval mode.
        viewer: of its weights.
        video: open.
        rule: when to stop.

    Raises:
        VideoDecodeError: a frame that cannot be decoded.
    """
    segments = viewer.segments(video, rule.max_segments)  # (S, L)
    seen: Seen = {}
    scores: Logits = {}
    for numbers in coarse_to_fine(rule.max_segments):
        seen |= _seen(model, viewer, video, segments, numbers)
        scores = _scores(model, seen, rule.max_segments)
        if _may_stop(model, len(seen)) and _certainty(scores) >= rule.confidence:
            break
    return _joined([seen[number][0] for number in sorted(seen)]), scores


def _seen(model: SegmentNet, viewer: Viewer, video: SparseVideo, segments: Tensor, numbers: Sequence[int]) -> Seen:
    look = look_at(video, segments[list(numbers)].flatten())
    clip = viewer.clip(look)[None].to(next(model.parameters()).device)
    maps = [own[0] for own in model.maps(clip)]  # each (S, C', H', W')
    length = segments.shape[1]
    return {
        number: (_part(look, slice(i * length, (i + 1) * length)), [own[i] for own in maps])
        for i, number in enumerate(numbers)
    }


def _scores(model: SegmentNet, seen: Seen, num_segments: int) -> Logits:
    shown = known = sorted(seen)
    if model.num_segments is not None:
        shown = [known[i] for i in nearest_known(known, num_segments, model.num_segments)]
    maps = zip(*[seen[number][1] for number in shown], strict=True)
    logits = model.head(*[torch.stack(own)[None] for own in maps])
    if model.activation is not None:
        logits = map_logits(model.activation, logits)
    return map_logits(lambda own: own[0].cpu(), to_scores(logits))


def _may_stop(model: SegmentNet, num_seen: int) -> bool:
    return model.num_segments is None or 2 * num_seen >= model.num_segments


def _certainty(scores: Logits) -> float:
    of_tasks = list(scores.values()) if isinstance(scores, dict) else [scores]
    return min(float(own.max()) for own in of_tasks)


def _part(look: Look, frames: slice) -> Look:
    return Look(
        look.frames[frames],
        look.frame_indices[frames],
        look.frame_times_seconds[frames],
        look.num_frames,
        look.duration_seconds,
    )


def _joined(looks: Sequence[Look]) -> Look:
    return Look(
        torch.cat([look.frames for look in looks]),
        [number for look in looks for number in look.frame_indices],
        [seconds for look in looks for seconds in look.frame_times_seconds],
        looks[0].num_frames,
        looks[0].duration_seconds,
    )
