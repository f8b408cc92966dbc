"""The rules by name: where in its segment a group of frames starts."""

from collections.abc import Callable
from dataclasses import dataclass

from pv_sparse.data import original_rules
from pv_sparse.data.original_rules import Draw

DENSE_VIEWS = 10
DENSE_WINDOW = 64


@dataclass(frozen=True)
class Rule:
    """`starts(num_frames, num_segments, frames_per_segment, draw)` lists the first frame of each group.

    `is_whole`: its segments divide the whole video, each group lying in its own. `by_motion`: they are of equal size in
    bytes; `starts` is what holds where sizes are not known.
    """

    starts: Callable[[int, int, int, Draw], list[int]]
    short: str = "repeat_last"
    num_views: int = 1
    is_random: bool = False
    is_whole: bool = True
    by_motion: bool = False


def get_rule(name: str) -> Rule:
    """The rule of this name; `ValueError` lists the names there are."""
    if name not in RULES:
        raise ValueError(f"rule={name!r} is unknown: choose one of {', '.join(sorted(RULES))}")
    return RULES[name]


def positions_of(num_frames: int, frames_per_segment: int) -> int:
    return max(1, num_frames - frames_per_segment + 1)


def _random(num_frames: int, num_segments: int, frames_per_segment: int, draw: Draw) -> list[int]:
    """Segment i holds the whole places of [i, i + 1) * positions / S, or, narrower than one, the place it lies in."""
    positions = positions_of(num_frames, frames_per_segment)
    lows = [i * positions // num_segments for i in range(num_segments)]
    highs = [*lows[1:], positions]
    return [low + draw(max(1, high - low)) for low, high in zip(lows, highs, strict=True)]


def _uniform(num_frames: int, num_segments: int, frames_per_segment: int, draw: Draw) -> list[int]:
    last = positions_of(num_frames, frames_per_segment) - 1
    return [i * last // max(1, num_segments - 1) for i in range(num_segments)]


def _dense(num_frames: int, num_segments: int, frames_per_segment: int, draw: Draw) -> list[int]:
    positions = positions_of(num_frames, frames_per_segment)
    window = min(DENSE_WINDOW, positions)
    windows = [view * (positions - window) // (DENSE_VIEWS - 1) for view in range(DENSE_VIEWS)]
    return [start + i * window // num_segments for start in windows for i in range(num_segments)]


RULES = {
    # The originals' test frames, rounding included, are right for every length: S frames of S give each once.
    "center": Rule(original_rules.tsn_test),
    "random": Rule(_random, is_random=True),
    "uniform": Rule(_uniform),
    "motion": Rule(original_rules.tsn_test, by_motion=True),
    "motion_random": Rule(_random, is_random=True, by_motion=True),
    "dense": Rule(_dense, num_views=DENSE_VIEWS, is_whole=False),
    "twice": Rule(original_rules.tsm_twice, num_views=2),
    "tsn_train": Rule(original_rules.tsn_train, is_random=True),
    "tsn_val": Rule(original_rules.tsn_val),
    "tsn_test": Rule(original_rules.tsn_test),
    "mmaction2_train": Rule(original_rules.mmaction2_train, short="loop", is_random=True),
    "mmaction2_test": Rule(original_rules.mmaction2_test, short="loop"),
    "mmaction2_dense": Rule(original_rules.mmaction2_dense, short="loop", num_views=10, is_whole=False),
    "caffe_train": Rule(original_rules.caffe_train, is_random=True),
    "caffe_test": Rule(original_rules.caffe_test),
    "caffe_eval25": Rule(original_rules.caffe_eval25),
    "tsm_twice": Rule(original_rules.tsm_twice, num_views=2),
    "tsm_dense": Rule(original_rules.tsm_dense, short="loop", num_views=10, is_whole=False),
}
