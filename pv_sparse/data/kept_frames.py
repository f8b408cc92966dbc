"""Frames of a video that are asked for in several turns, of which no stretch is decoded more than twice."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from pv_sparse.data.segment_plan import FrameSource


class KeptFrames:
    """Keeps what is decoded on the way to the frames asked for, where it may be asked for later.

    From one keyframe to the next, the first turn decodes up to the last frame it was asked for; the second turn takes
    all that may be asked for. What came before is decoded again then, and not in every turn: in a video of one keyframe
    all turns together cost less than twice as much as one for all.

    Args:
        video: open.
        wanted: numbers of all frames that may be asked for; so many are held in memory at most.
    """

    def __init__(self, video: FrameSource, wanted: Iterable[int]):
        self._video, self._wanted = video, set(wanted)
        self._keyframes: Sequence[int] = sorted(int(number) for number in video.packets.keyframes)
        self._kept: dict[int, Tensor] = {}
        self._begun: set[int] = set()

    def frames_at(self, indices: Sequence[int]) -> Tensor:
        """(T, C, H, W) uint8, as `SparseVideo.frames_at` gives them; errors are its own."""
        missing = set(indices) - self._kept.keys()
        if missing:
            numbers = sorted(missing | self._on_the_way(missing))
            self._kept.update(zip(numbers, self._video.frames_at(numbers), strict=True))
        return torch.stack([self._kept[number] for number in indices])

    def _on_the_way(self, missing: Iterable[int]) -> set[int]:
        last: dict[int, int] = {}  # by stretch
        for number in sorted(missing):
            last[self._stretch(number)] = number
        again = self._begun & last.keys()
        self._begun |= last.keys()
        stretches = {number: self._stretch(number) for number in self._wanted - self._kept.keys()}
        return {number for number, own in stretches.items() if own in again or number < last.get(own, -1)}

    def _stretch(self, number: int) -> int:
        """Which keyframe a frame depends on, counted from 1; 0 where the first one comes later."""
        return bisect_right(self._keyframes, number)
