"""Sampling that goes by a video's packets: towards motion, and near keyframes."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from index_video import read_numbers, write_index_video

from pv_sparse import SegmentClipSampler, SparseVideo, segment_indices
from pv_sparse.data.rules import RULES
from pv_sparse.data.segments import Packets

WHOLE = sorted(name for name, rule in RULES.items() if rule.is_whole and rule.num_views == 1)


def firsts(*arguments, **options) -> list[int]:
    return segment_indices(*arguments, **options)[:, 0].tolist()


def test_motion_divides_the_bytes_and_not_the_time():
    packets = Packets(sizes=[1] * 50 + [9] * 50)  # nine tenths of the motion in the second half
    assert firsts(100, 5, rule="motion", packets=packets) == [50, 61, 72, 83, 94]
    assert firsts(100, 4, rule="motion", packets=Packets([7] * 100)) == firsts(100, 4)


def test_a_keyframe_counts_as_the_frame_after_it():
    packets = Packets(sizes=[900, *[1] * 99], keyframes=[0])
    assert firsts(100, 4, rule="motion", packets=packets) == firsts(100, 4)
    all_intra = Packets(sizes=[900, *[1] * 99], keyframes=range(100))
    assert firsts(100, 4, rule="motion", packets=all_intra)[:3] == [0, 0, 0]


def test_without_sizes_motion_is_even():
    assert firsts(100, 8, rule="motion", packets=Packets()) == firsts(100, 8)
    assert firsts(10, 3, rule="motion", packets=Packets([0] * 10)) == firsts(10, 3)


def test_random_motion_draws_in_proportion_to_the_bytes():
    packets = Packets(sizes=[1] * 50 + [3] * 50)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([segment_indices(100, 8, 1, "motion_random", generator, packets=packets) for _ in range(400)])
    share = (drawn >= 50).double().mean()
    assert abs(share - 0.75) < 0.02


def test_snapping_takes_the_nearest_keyframe_of_the_segment():
    packets = Packets(keyframes=[0, 12, 24, 36, 48])
    # Segments 0-14, 15-29, 30-44, 45-59 with the middles 7, 22, 37, 52.
    assert firsts(60, 4, snap="keyframe", packets=packets) == [12, 24, 36, 48]
    assert firsts(60, 4, decode_budget=0, packets=packets) == [12, 24, 36, 48]
    assert firsts(60, 3, snap="keyframe", packets=Packets(keyframes=[0])) == [0, 20, 40], "the cheapest frames"


def test_random_rules_keep_their_draw_where_a_segment_has_no_keyframe():
    generator = torch.Generator().manual_seed(0)
    packets = Packets(keyframes=[0])
    drawn = {firsts(60, 2, 1, "random", generator, snap="keyframe", packets=packets)[1] for _ in range(400)}
    assert drawn == set(range(30, 60))


def test_a_budget_allows_frames_so_far_past_a_keyframe():
    packets = Packets(keyframes=[0, 20, 40])
    assert firsts(60, 3, decode_budget=4, packets=packets) == [4, 24, 44]
    assert firsts(60, 3, decode_budget=10, packets=packets) == [10, 30, 50]


def test_random_rules_draw_evenly_among_the_allowed_frames():
    packets = Packets(keyframes=[0, 5, 30])
    generator = torch.Generator().manual_seed(0)
    drawn = [firsts(40, 2, 1, "random", generator, decode_budget=1, packets=packets) for _ in range(600)]
    counts = torch.bincount(torch.tensor(drawn)[:, 0], minlength=40)
    assert counts.nonzero().flatten().tolist() == [0, 1, 5, 6]
    assert counts[counts > 0].min() > 110
    assert {pair[1] for pair in drawn} == {30, 31}


@given(
    n=st.integers(1, 200),
    k=st.integers(1, 12),
    length=st.integers(1, 4),
    rule=st.sampled_from(WHOLE),
    budget=st.integers(0, 30),
    keyframes=st.sets(st.integers(0, 199)),
)
@example(n=3, k=4, length=1, rule="caffe_eval25", budget=1, keyframes=set())
def test_frames_stay_in_their_segments_and_within_the_budget(n, k, length, rule, budget, keyframes):
    if rule == "tsn_train" and length > n > k:
        return
    keys = sorted({0} | {key for key in keyframes if key < n})
    packets = Packets(sizes=[1] * n, keyframes=keys)
    starts = segment_indices(n, k, length, rule, decode_budget=budget, packets=packets)[:, 0].tolist()
    assert starts == sorted(starts) or RULES[rule].short == "loop"
    positions = max(1, n - length + 1)
    for i, start in enumerate(starts):
        segment = range(i * positions // k, (i + 1) * positions // k)
        cost = {frame: frame - max(key for key in keys if key <= frame) for frame in segment}
        if cost and min(cost.values()) <= budget and not RULES[rule].by_motion:
            assert start in segment
            assert cost[start] <= budget


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "motion"}, "packets="),
        ({"snap": "keyframe"}, "packets="),
        ({"snap": "nearest"}, "choose 'keyframe'"),
        ({"snap": "keyframe", "decode_budget": 3}, "exclude each other"),
        ({"decode_budget": -1}, "at least 0"),
        ({"rule": "dense", "snap": "keyframe"}, "no segments of the whole video"),
        ({"rule": "motion", "packets": Packets([1, 2, 3])}, "packets of 3 frames"),
    ],
)
def test_what_is_not_allowed_is_told(options, words):
    with pytest.raises(ValueError, match=words):
        segment_indices(60, 4, **options)


def test_a_video_knows_its_packets(tmp_path):
    path = write_index_video(tmp_path / "video.mp4", 60, gop=12)
    with SparseVideo(path) as video:
        assert video.packets.keyframes == video.keyframes == [0, 12, 24, 36, 48]
        assert len(video.packets.sizes) == 60
        assert sum(video.packets.sizes) < path.stat().st_size
        plan = SegmentClipSampler(4, snap="keyframe").plan(seed=0)
        assert read_numbers(video.frames_at(plan.indices(video))) == [12, 24, 36, 48]
