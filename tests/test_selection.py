"""Frames that are chosen: looks, weights, and where segments of equal weight lie."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pv_sparse import segment_indices
from pv_sparse.data.guided import distinct
from pv_sparse.data.segments import Packets
from pv_sparse.data.selection import frame_weights, glance_indices, mixed_with_even, novelty, share_throughout

lengths = st.integers(1, 400)
counts = st.integers(1, 40)


@st.composite
def weighted(draw) -> np.ndarray:
    """Weights of a video: some all alike, some nothing but a few frames."""
    num_frames = draw(lengths)
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    return generator.random(num_frames) ** draw(st.sampled_from([0, 1, 30])) + draw(st.sampled_from([0, 1e-12]))


@given(weighted(), counts, st.sampled_from(["center", "random"]), st.integers(0, 2**32))
def test_frames_are_in_order_in_range_unique_while_they_suffice_and_seeded(weights, num_segments, rule, seed):
    num_frames = len(weights)

    def frames() -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        return segment_indices(num_frames, num_segments, rule=rule, generator=generator, weights=weights).tolist()

    first = [frame for (frame,) in frames()]
    assert first == sorted(first)
    assert 0 <= first[0] <= first[-1] < num_frames
    assert len(set(first)) == min(num_segments, num_frames) or (rule == "random" and num_segments > num_frames)
    assert frames() == [[frame] for frame in first]


def test_segments_are_of_equal_weight():
    weights = np.array([0.0] * 60 + [1.0] * 20 + [0.0] * 20)
    assert segment_indices(100, 4, weights=weights).flatten().tolist() == [62, 67, 72, 77]
    assert segment_indices(100, 4, frames_per_segment=2, weights=weights).tolist()[0] == [62, 63]
    drawn = segment_indices(100, 20, rule="random", generator=torch.Generator().manual_seed(0), weights=weights)
    assert drawn.flatten().tolist() == list(range(60, 80))


@given(lengths, counts)
def test_equal_weights_are_even(num_frames, num_segments):
    weights = np.ones(num_frames)
    even = segment_indices(num_frames, num_segments)
    if num_segments <= num_frames:
        assert (segment_indices(num_frames, num_segments, weights=weights) - even).abs().max() <= 1


def test_weights_then_keyframes():
    weights = np.array([0.0] * 50 + [1.0] * 50)
    packets = Packets(keyframes=range(0, 100, 10))
    chosen = segment_indices(100, 5, weights=weights, snap="keyframe", packets=packets)
    assert chosen.flatten().tolist() == [50, 60, 70, 80, 90]


def test_weights_that_make_no_sense():
    with pytest.raises(ValueError, match=r"rule='tsn_train' has segments of its own, .* take one of center, random"):
        segment_indices(10, 3, rule="tsn_train", weights=np.ones(10))
    with pytest.raises(ValueError, match=r"weights of shape \(9,\) were given for a video of 10 frames"):
        segment_indices(10, 3, weights=np.ones(9))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=31).map(sorted), st.integers(31, 200))
def test_distinct_starts_are_moved_only_where_they_meet(starts, positions):
    moved = distinct(starts, positions)
    assert sorted(set(moved)) == moved
    assert len(moved) == len(starts)
    assert 0 <= moved[0] <= moved[-1] < positions
    if len(set(starts)) == len(starts):
        assert moved == starts


def test_starts_that_meet_at_the_end_make_room():
    assert distinct([5, 9, 9, 9], 10) == [5, 7, 8, 9]
    assert distinct([0, 0, 0], 10) == [0, 1, 2]


@given(lengths, st.integers(1, 64), st.integers(1, 100))
def test_looks_are_spread_and_cheap(num_frames, num_looks, interval):
    keyframes = list(range(0, num_frames, interval))
    looks = glance_indices(num_frames, Packets(keyframes=keyframes), num_looks).tolist()
    assert looks == sorted(set(looks))
    assert 0 <= looks[0] <= looks[-1] < num_frames
    assert 1 <= len(looks) <= num_looks
    if interval * 16 <= num_frames and num_looks >= 16:
        assert set(looks) <= set(keyframes)


def test_where_keyframes_are_rare_a_sixteenth_goes_unseen_at_most():
    assert glance_indices(160, Packets(keyframes=[0])).tolist() == [0, *range(10, 160, 10)]
    assert glance_indices(160, Packets(keyframes=[0, 33])).tolist() == [0, 10, 20, 33, *range(40, 160, 10)]


def test_of_many_keyframes_as_many_as_looks():
    looks = glance_indices(10_000, Packets(keyframes=range(0, 10_000, 5)))
    assert len(looks) == 64
    assert (looks % 5 == 0).all()


def test_a_frame_is_worth_what_the_nearest_look_is():
    weights = frame_weights(torch.tensor([1.0, 3.0, 2.0]), torch.tensor([1, 4, 9]), 11)
    assert weights.tolist() == [1, 1, 1, 3, 3, 3, 3, 2, 2, 2, 2]
    assert frame_weights(torch.tensor([5.0]), torch.tensor([0]), 3).tolist() == [5, 5, 5]


def test_a_share_stays_even():
    assert mixed_with_even(np.array([0.0, 2.0]), 0.5).tolist() == [0.25, 0.75]
    assert mixed_with_even(np.array([0.0, 2.0]), 1.0).tolist() == [0.5, 0.5]
    assert mixed_with_even(np.zeros(4), 0.0).tolist() == [0.25] * 4


def test_novelty_begins_in_the_middle():
    features = torch.tensor([[0.0], [1.0], [4.9], [5.0], [10.0]])
    assert novelty(features, 1).tolist() == pytest.approx([0, 0, 5.1, 0, 0])
    assert novelty(features, 3).tolist() == pytest.approx([4.9, 0, 5.1, 0, 5.1])
    assert novelty(features, 9).tolist() == pytest.approx([4.9, 1, 5.1, 0.1, 5.1])


def test_what_is_repeated_is_not_new():
    features = torch.tensor([[1.0], [1.0], [1.0], [3.0], [3.0], [1.0]])
    assert novelty(features, 5).tolist() == [2, 0, 0, 2, 0, 0]
    assert novelty(features[:3], 5).tolist() == [0, 0, 0]


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**32))
def test_novelty_is_of_as_many_as_asked_for(num_rows, count, seed):
    features = torch.randn((num_rows, 3), generator=torch.Generator().manual_seed(seed))
    found = novelty(features, count)
    assert (found >= 0).all()
    assert int((found > 0).sum()) == (min(count, num_rows) if num_rows > 1 else 0)


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=70))
def test_how_far_a_video_shows_its_subject_throughout(scores):
    shares = torch.tensor(scores) / sum(scores)
    told = share_throughout(shares)
    assert 0 <= told <= 1
    assert share_throughout(torch.cat([shares, torch.zeros(len(shares))])) <= told + 1e-6
    assert share_throughout(torch.eye(len(scores) + 1)[0]) == 0
    assert share_throughout(torch.full((len(scores),), 1 / len(scores))) == pytest.approx(1)


def test_a_quarter_of_the_looks_is_throughout():
    told = [share_throughout((torch.arange(41) < count) / count) for count in (1, 6, 11, 41)]
    assert told == pytest.approx([0, 0.5, 1, 1])
