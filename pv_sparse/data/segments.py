"""Which frames to look at: `num_frames -> indices`, as pure functions.

A rule divides a video into segments and picks the first frame of a group of `frames_per_segment` consecutive frames in
each. The plain rules (`center`, `random`, `uniform`, `dense`, `twice`) are right where the original implementations
are not; `motion` goes by the file's packets (`pv_sparse.data.guided`); the originals' rules, quirks included, go by the
originals' names (`pv_sparse.data.original_rules`).

Words used below, for n frames, S segments, L frames per segment: a group can start at `positions = max(1, n - L + 1)`
places, 0 to positions - 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pv_sparse.data import guided
from pv_sparse.data.original_rules import Draw
from pv_sparse.data.rules import RULES, Rule, get_rule, positions_of

SHORT_POLICIES = ("repeat_last", "loop", "error")
RULES_OF_WEIGHTS = ("center", "random")


class Packets(NamedTuple):
    """What is known of a video's n frames before any is decoded (`SparseVideo.packets`).

    `sizes`: bytes of each frame in the file, n of them, or none where they are not known. `keyframes`: frame numbers,
    ascending.
    """

    sizes: Sequence[int] | np.ndarray = ()
    keyframes: Sequence[int] = ()


def segment_indices(
    num_frames: int,
    num_segments: int,
    frames_per_segment: int = 1,
    rule: str = "center",
    generator: torch.Generator | None = None,
    short: str | None = None,
    *,
    snap: str | None = None,
    decode_budget: int | None = None,
    packets: Packets | None = None,
    weights: np.ndarray | None = None,
) -> Tensor:
    """The frames to look at in a video of `num_frames` frames.

    Rules (n frames, S segments):

    * `center`: the middle of each segment, as the originals test. n = 30, S = 3: 5, 15, 25.
    * `random`: one draw inside each segment, for training. Every frame can be drawn; S frames of S give each once.
    * `uniform`: even steps from the first frame to the last, as the host's `UniformTemporalSubsample`: 0, 14, 29.
    * `dense`: 10 views, each S even steps through a window of 64 frames; the windows are spread from start to end.
    * `motion`, `motion_random`: as `center` and `random`, in segments of equal size in bytes instead of equal length.
    * `twice`: 2 views, `center` and then the first frame of each segment: 5, 15, 25, 0, 10, 20.
    * `tsn_train`, `tsn_val`, `tsn_test` (TSN, TRN and ECO in PyTorch), `mmaction2_train`, `mmaction2_test`,
      `mmaction2_dense`, `caffe_train`, `caffe_test` (TSN and ECO in Caffe), `caffe_eval25`, `tsm_twice`, `tsm_dense`:
      the original implementations, 0-based.

    Cheaper frames (`pv_sparse.data.guided` says what they change): `snap="keyframe"` moves each group to a keyframe of
    its segment, `decode_budget=d` to a place at most d frames past one, the nearest (for random rules, any of them);
    a segment without one gives its first frame (for random rules, its own draw).

    A video is short when it has fewer than S places for a group to start. Its groups are spread over the places there
    are, in order of time (n = 5, S = 8, `center`: 0, 0, 1, 2, 2, 3, 4, 4), and `short` says what stands for frames
    past the end of the video (n = 2, L = 4):

    * `repeat_last`: the last frame. 0, 1, 1, 1.
    * `loop`: the video again from its start. 0, 1, 0, 1.
    * `error`: nothing: a short video raises `ValueError`.

    Args:
        num_frames: n, at least 1.
        num_segments: S, at least 1.
        frames_per_segment: L, consecutive frames in each segment, at least 1.
        rule: a name of the list above.
        generator: draws of the random rules; None takes torch's global generator. Other rules ignore it.
        short: a policy of the list above; None is the rule's own: `loop` for mmaction2's and `tsm_dense`, else
            `repeat_last`.
        snap: None or `keyframe`.
        decode_budget: None or d, at least 0; 0 is `snap="keyframe"`. Give one of the two.
        packets: of this video; what `motion`, `snap` and `decode_budget` go by.
        weights: (num_frames,), what each frame is worth, 0 or more and not all 0, as a selector says: the segments of
            `center` and `random` are of equal weight then, and no place is taken twice; short videos are even.

    Returns:
        (S, L) int64, 0-based, each value in [0, num_frames); (views * S, L), view after view, for rules with views.

    Raises:
        ValueError: a count below 1, an unknown rule or policy, a short video under `short="error"`, a snap or budget
            for a rule whose segments do not divide the whole video, weights for a rule other than `center` and `random`
            or of another length, or no packets where they are needed.
    """
    chosen = get_rule(rule)
    _check_counts(num_frames, num_segments, frames_per_segment)
    policy = _check_policy(short or chosen.short, num_frames, num_segments, frames_per_segment)
    budget = _check_budget(rule, snap, decode_budget)
    draw = _draw_from(generator)
    if chosen.by_motion or budget is not None:
        packets = _check_packets(packets, num_frames)
    if weights is not None:
        _check_weights(weights, num_frames, rule)
    starts = _starts(chosen, num_frames, num_segments, frames_per_segment, draw, budget, packets or Packets(), weights)
    indices = torch.tensor(starts, dtype=torch.int64)[:, None] + torch.arange(frames_per_segment)
    return indices % num_frames if policy == "loop" else indices.clamp(0, num_frames - 1)


def _check_counts(num_frames: int, num_segments: int, frames_per_segment: int) -> None:
    counts = {"num_frames": num_frames, "num_segments": num_segments, "frames_per_segment": frames_per_segment}
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}={count} is not allowed: it must be at least 1")


def _check_policy(policy: str, num_frames: int, num_segments: int, frames_per_segment: int) -> str:
    if policy not in SHORT_POLICIES:
        raise ValueError(f"short={policy!r} is unknown: choose one of {', '.join(SHORT_POLICIES)}")
    needed = num_segments + frames_per_segment - 1
    if policy == "error" and num_frames < needed:
        raise ValueError(
            f"a video of {num_frames} frames is too short for {num_segments} segments of {frames_per_segment} frames: "
            f"they need at least {needed} frames; ask for fewer segments, or choose short='repeat_last' or 'loop'"
        )
    return policy


def _check_budget(rule: str, snap: str | None, decode_budget: int | None) -> int | None:
    if snap not in (None, "keyframe"):
        raise ValueError(f"snap={snap!r} is unknown: choose 'keyframe', or None")
    if snap is not None and decode_budget is not None:
        raise ValueError(f"snap={snap!r} and decode_budget={decode_budget} exclude each other: snap is a budget of 0")
    if decode_budget is not None and decode_budget < 0:
        raise ValueError(f"decode_budget={decode_budget} is not allowed: it must be at least 0")
    budget = 0 if snap else decode_budget
    if budget is not None and not RULES[rule].is_whole:
        whole = sorted(name for name, known in RULES.items() if known.is_whole)
        raise ValueError(
            f"rule={rule!r} has no segments of the whole video in which snap or decode_budget could choose: "
            f"take one of {', '.join(whole)}"
        )
    return budget


def _check_packets(packets: Packets | None, num_frames: int) -> Packets:
    if packets is None:
        raise ValueError("motion rules, snap and decode_budget go by packets=: give those of the video")
    if len(packets.sizes) not in (0, num_frames):
        raise ValueError(f"packets of {len(packets.sizes)} frames were given for a video of {num_frames}")
    return packets


def _check_weights(weights: np.ndarray, num_frames: int, rule: str) -> None:
    if rule not in RULES_OF_WEIGHTS:
        raise ValueError(
            f"rule={rule!r} has segments of its own, which weights, or select=, would change: "
            f"take one of {', '.join(RULES_OF_WEIGHTS)}"
        )
    if weights.shape != (num_frames,):
        raise ValueError(f"weights of shape {weights.shape} were given for a video of {num_frames} frames")


def _draw_from(generator: torch.Generator | None) -> Draw:
    def draw(high: int) -> int:
        return int(torch.randint(high, (), generator=generator))

    return draw


def _starts(
    rule: Rule,
    num_frames: int,
    num_segments: int,
    frames_per_segment: int,
    draw: Draw,
    budget: int | None,
    packets: Packets,
    weights: np.ndarray | None,
) -> list[int]:
    positions = positions_of(num_frames, frames_per_segment)
    by_chance = draw if rule.is_random else None
    if positions < num_segments:
        weights = None  # all there is will be seen
    if rule.by_motion and len(packets.sizes):
        weights = guided.motion_weights(packets.sizes, packets.keyframes)
    if weights is None:
        segments = guided.even_segments(positions, num_segments) * rule.num_views
        starts = rule.starts(num_frames, num_segments, frames_per_segment, draw)
    else:
        segments = guided.weighted_segments(weights[:positions], num_segments)
        starts = guided.weighted_starts(weights[:positions], num_segments, by_chance)
        starts = starts if rule.by_motion else guided.distinct(starts, positions)
    return starts if budget is None else guided.near_keyframes(starts, segments, packets.keyframes, budget, by_chance)
