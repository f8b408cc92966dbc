"""The frame sampling of the original implementations, quirks included: published figures depend on them.

Each function has the form `(num_frames, num_segments, frames_per_segment, draw) -> starts` and returns 0-based frames;
the originals that count from 1 are shifted by one. `draw(high)` is a random integer in [0, high). Floating-point steps
are kept as the originals take them, since their rounding decides between neighbouring frames.
"""

import math
from collections.abc import Callable

Draw = Callable[[int], int]

WINDOW = 64
WINDOWS = 10


def tsn_train(num_frames: int, num_segments: int, frames_per_segment: int, draw: Draw) -> list[int]:
    """yjxiong/tsn-pytorch `dataset.py` `_sample_indices`; the same in TRN-pytorch, ECO-pytorch, temporal-shift-module.

    The floor division leaves the video's tail out: with 31 frames and 8 segments, frames 24 to 30 are never drawn.
    """
    positions = num_frames - frames_per_segment + 1
    step = max(0, positions) // num_segments
    if step > 0:
        return [i * step + draw(step) for i in range(num_segments)]
    if num_frames <= num_segments:
        return [0] * num_segments
    if positions < 1:
        raise ValueError(
            f"rule='tsn_train' cannot draw {frames_per_segment} frames per segment from a video of {num_frames} frames "
            f"(nor could the original): choose rule='random', or at most {num_frames} frames per segment"
        )
    return sorted(draw(positions) for _ in range(num_segments))


def tsn_val(num_frames: int, num_segments: int, frames_per_segment: int, draw: Draw) -> list[int]:
    """tsn-pytorch `_get_val_indices`. Its strict comparison gives frame 0 for every segment when n = S."""
    if num_frames > num_segments + frames_per_segment - 1:
        return tsn_test(num_frames, num_segments, frames_per_segment, draw)
    return [0] * num_segments


def tsn_test(num_frames: int, num_segments: int, frames_per_segment: int, draw: Draw) -> list[int]:
    """tsn-pytorch `_get_test_indices`. Where it gives a frame before the first (n < L), this gives the first."""
    tick = (num_frames - frames_per_segment + 1) / num_segments
    return [max(0, int(tick / 2.0 + tick * i)) for i in range(num_segments)]


def tsm_twice(num_frames: int, num_segments: int, frames_per_segment: int, draw: Draw) -> list[int]:
    """temporal-shift-module `ops/dataset.py` with `twice_sample`: the test frames, then the start of each segment."""
    tick = (num_frames - frames_per_segment + 1) / num_segments
    starts = [max(0, int(tick * i)) for i in range(num_segments)]
    return tsn_test(num_frames, num_segments, frames_per_segment, draw) + starts


def tsm_dense(num_frames: int, num_segments: int, frames_per_segment: int, draw: Draw) -> list[int]:
    """temporal-shift-module `ops/dataset.py` with `dense_sample`: 10 windows of 64 frames, indices modulo n."""
    return _windows(num_frames, num_segments)


def mmaction2_dense(num_frames: int, num_segments: int, frames_per_segment: int, draw: Draw) -> list[int]:
    """mmaction2 `DenseSampleFrames` in test mode."""
    return _windows(num_frames, num_segments)


def _windows(num_frames: int, num_segments: int) -> list[int]:
    last = max(1, 1 + num_frames - WINDOW) - 1
    stride = WINDOW // num_segments
    starts = [int(window * (last / (WINDOWS - 1))) for window in range(WINDOWS)]
    return [(start + i * stride) % num_frames for start in starts for i in range(num_segments)]


def mmaction2_train(num_frames: int, num_segments: int, frames_per_segment: int, draw: Draw) -> list[int]:
    """mmaction2 1.2 `SampleFrames._get_train_clips`, frame interval 1. `round` is half to even, as numpy's."""
    step = (num_frames - frames_per_segment + 1) // num_segments
    if step > 0:
        return [i * step + draw(step) for i in range(num_segments)]
    if num_frames > max(num_segments, frames_per_segment):
        return sorted(draw(num_frames - frames_per_segment + 1) for _ in range(num_segments))
    if step == 0:
        ratio = (num_frames - frames_per_segment + 1.0) / num_segments
        return [round(i * ratio) for i in range(num_segments)]
    return [0] * num_segments


def mmaction2_test(num_frames: int, num_segments: int, frames_per_segment: int, draw: Draw) -> list[int]:
    """mmaction2 1.2 `SampleFrames._get_test_clips`, frame interval 1.

    Single frames are centred in their segments; groups (optical flow) run from the first frame to the last instead.
    """
    if frames_per_segment == 1:
        step = num_frames / num_segments
        return [int(i * step + step / 2.0) for i in range(num_segments)]
    spare = max(num_frames - frames_per_segment, 0)
    if num_segments == 1:
        return [spare // 2]
    step = spare / (num_segments - 1)
    return [round(i * step) for i in range(num_segments)]


def caffe_train(num_frames: int, num_segments: int, frames_per_segment: int, draw: Draw) -> list[int]:
    """The VideoData layer of TSN's and ECO's Caffe, training."""
    step = num_frames // num_segments
    spare = step - frames_per_segment
    return [i * step + (draw(spare + 1) if spare >= 0 else 0) for i in range(num_segments)]


def caffe_test(num_frames: int, num_segments: int, frames_per_segment: int, draw: Draw) -> list[int]:
    """The VideoData layer of TSN's and ECO's Caffe, testing: here too the integer step leaves the tail out."""
    step = num_frames // num_segments
    if step < frames_per_segment:
        return [0] * num_segments
    return [int((step - frames_per_segment + 1) / 2 + step * i) for i in range(num_segments)]


def caffe_eval25(num_frames: int, num_segments: int, frames_per_segment: int, draw: Draw) -> list[int]:
    """temporal-segment-networks `tools/eval_net.py`, which takes 25 frames from the first on."""
    step = math.floor((num_frames - frames_per_segment) / max(1, num_segments - 1))
    return [i * max(0, step) for i in range(num_segments)]
