"""Recognition that stops when it is sure: frames come in rounds, and what the 2-D network made of them is kept.

After the middle frame, the quarters, the eighths and so on, or after the frames that a selector holds for the best, the
head is asked; it stops at the first answer whose score is high enough. Of TSN, frames agree, however few they are. A
head that was made for a number of segments (TRN, ECO) is shown, in each of its places, the nearest frame that is known;
its first round is half as many as it has places.
As Teerapittayanon et al., "BranchyNet", ICPR 2016, leave a network early; here a video is left early. Scores say how
sure a network is after its temperature: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pv_sparse.data.kept_frames import KeptFrames
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
            Where the weights have an `exit_temperature`, it counts after that, and is the share of right answers.
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


def coarse_to_fine(num_segments: int, first: int = 1) -> list[list[int]]:
    """Segment numbers in rounds: the middle one, then those at the quarters, the eighths, until all are named.

    One that is left over alone is looked at with those before it. 8: [4], [2, 6], [0, 1, 3, 5, 7].

    Args:
        num_segments: at least 1.
        first: the first round is as many as this, the middles of so many parts. 8, of 4: [1, 3, 5, 7], [0, 2, 4, 6].
    """
    rounds: list[list[int]] = []
    named: set[int] = set()
    parts = 2 * first
    while len(named) < num_segments:
        places = {odd * num_segments // parts for odd in range(1, parts, 2)} - named
        rounds += [sorted(places)] if places else []
        named |= places
        parts *= 2
    if len(rounds) > 2 and len(rounds[-1]) == 1:
        return [*rounds[:-2], sorted(rounds[-2] + rounds[-1])]
    return rounds


def best_first(worth: Sequence[float], first: int = 1) -> list[list[int]]:
    """Segment numbers in rounds of 1, 1, 2, 4, ...: those that are worth most first, of equal ones the earlier.

    (0.1, 0.4, 0.1, 0.3): [1], [3], [0, 2].

    Args:
        worth: of each segment.
        first: the first two rounds are as many as this, each.
    """
    order = sorted(range(len(worth)), key=lambda number: (-worth[number], number))
    rounds = [order[:first]] if order else []
    named = first
    while named < len(order):
        rounds.append(order[named : 2 * named])
        named *= 2
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


@dataclass(frozen=True)
class Round:
    """What is known after a round.

    Attributes:
        looks: one for each segment that was looked at, in order of time.
        logits: (num_classes,) float32, on the CPU, or a dict of them by task: what the frames so far say together.
    """

    looks: list[Look]
    logits: Logits


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
    temperature = viewer.weights.exit_temperature or 1.0
    for last in look_in_rounds(model, viewer, video, rule.max_segments):
        if certainty(last.logits, temperature) >= rule.confidence:
            break
    return Look.joined(last.looks), to_scores(last.logits)


@torch.inference_mode()
def look_in_rounds(model: SegmentNet, viewer: Viewer, video: SparseVideo, max_segments: int) -> Iterator[Round]:
    """Look, round after round, for as long as the caller asks; arguments as of `look_until_sure`."""
    segments, weights = viewer.segments_and_weights(video, max_segments)  # (S, L)
    worth = None if weights is None else weights[segments.numpy()].max(axis=1).tolist()
    for known in _rounds(model, viewer, video, segments, rounds_of(max_segments, worth, _least(model))):
        yield replace(known, looks=[replace(look, frame_weights=weights) for look in known.looks])


@torch.inference_mode()
def look_at_once(model: SegmentNet, viewer: Viewer, video: SparseVideo, num_segments: int) -> Iterator[Round]:
    """All segments in one round, to compare with; a head that was made for another number is shown the nearest."""
    yield from _rounds(model, viewer, video, viewer.segments(video, num_segments), [list(range(num_segments))])


def rounds_of(num_segments: int, worth: Sequence[float] | None, first: int = 1) -> list[list[int]]:
    """Best first; where nothing is known of what segments are worth, or all are alike, coarse to fine."""
    if worth is None or min(worth) == max(worth):
        return coarse_to_fine(num_segments, first)
    return best_first(worth, first)


def certainty(logits: Logits, temperature: float = 1.0) -> float:
    """The score of the best class, in [0, 1]; of several tasks, that of the least sure.

    Args:
        logits: (num_classes,), or a dict of them by task.
        temperature: above 0, what logits are divided by.
    """
    scores = to_scores(map_logits(lambda own: own / temperature, logits))
    of_tasks = list(scores.values()) if isinstance(scores, dict) else [scores]
    return min(float(own.max()) for own in of_tasks)


def _rounds(
    model: SegmentNet, viewer: Viewer, video: SparseVideo, segments: Tensor, rounds: Sequence[Sequence[int]]
) -> Iterator[Round]:
    seen: Seen = {}
    kept = KeptFrames(video, segments.flatten().tolist())
    for numbers in rounds:
        indices = segments[list(numbers)].flatten()
        look = look_at(video, indices, kept.frames_at(indices.tolist()))
        seen |= _seen(model, viewer, look, numbers)
        looks = [seen[number][0] for number in sorted(seen)]
        yield Round(looks, _logits(model, seen, len(segments)))


def _seen(model: SegmentNet, viewer: Viewer, look: Look, numbers: Sequence[int]) -> Seen:
    clip = viewer.clip(look)[None].to(next(model.parameters()).device)
    maps = [own[0] for own in model.maps(clip)]  # each (S, C', H', W')
    length = len(look.frames) // len(numbers)
    return {
        number: (look.part(slice(i * length, (i + 1) * length)), [own[i] for own in maps])
        for i, number in enumerate(numbers)
    }


def _logits(model: SegmentNet, seen: Seen, num_segments: int) -> Logits:
    shown = known = sorted(seen)
    if model.num_segments is not None:
        shown = [known[i] for i in nearest_known(known, num_segments, model.num_segments)]
    maps = zip(*[seen[number][1] for number in shown], strict=True)
    logits = model.head(*[torch.stack(own)[None] for own in maps])
    if model.activation is not None:
        logits = map_logits(model.activation, logits)
    return map_logits(lambda own: own[0].float().cpu(), logits)


def _least(model: SegmentNet) -> int:
    """Segments without which an answer is not believed. They come at once: each round has its price."""
    return 1 if model.num_segments is None else (model.num_segments + 1) // 2
