"""Frames asked for in turns: the same as at once, and few of them decoded twice."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pv_sparse import SparseVideo
from pv_sparse.data.kept_frames import KeptFrames
from pv_sparse.data.segments import Packets


class Numbers:
    """A source of frames that show their number, and what was asked of it."""

    def __init__(self, keyframes: list[int]):
        self.packets, self.asked = Packets(keyframes=keyframes), []

    def frames_at(self, numbers):
        self.asked.append(list(numbers))
        return torch.tensor(numbers, dtype=torch.uint8)[:, None, None, None]


def ask(source: Numbers, wanted: list[int], *turns: list[int]) -> list[list[int]]:
    kept = KeptFrames(source, wanted)
    for turn in turns:
        assert kept.frames_at(turn).flatten().tolist() == turn
    return source.asked


def test_what_lies_on_the_way_is_kept():
    assert ask(Numbers([0, 50]), [10, 20, 60, 70, 80], [70], [60]) == [[60, 70]]


def test_the_second_time_all_of_a_stretch_is_taken():
    assert ask(Numbers([0, 50]), [10, 20, 60, 70, 80, 90], [60], [80], [70, 90], [20]) == [[60], [70, 80, 90], [10, 20]]


def test_frames_may_come_twice_and_in_any_order():
    assert ask(Numbers([0]), [3, 5], [5, 3, 5], [3]) == [[3, 5]]


@given(st.sets(st.integers(0, 99), min_size=1), st.sets(st.integers(1, 99)), st.randoms(use_true_random=False))
def test_no_stretch_is_decoded_more_than_twice(wanted, keyframes, random):
    order, source = sorted(wanted), Numbers([0, *sorted(keyframes)])
    random.shuffle(order)
    asked = ask(source, sorted(wanted), *[[number] for number in order])
    numbers = [number for some in asked for number in some]
    assert sorted(numbers) == sorted(wanted)  # each once
    for start, stop in zip(source.packets.keyframes, [*source.packets.keyframes[1:], 100], strict=True):
        assert sum(any(start <= number < stop for number in some) for some in asked) <= 2


def test_they_are_the_frames_of_the_video(index_video):
    with SparseVideo(index_video) as video:
        plain, kept = video.frames_at(range(0, 60, 7)), KeptFrames(video, range(0, 60, 7))
        for number in (28, 14, 56, 0, 49):
            assert torch.equal(kept.frames_at([number])[0], plain[number // 7])
        with pytest.raises(IndexError):
            kept.frames_at([60])
