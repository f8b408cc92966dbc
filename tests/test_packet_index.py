"""What packets prove, on packets made by hand: pts in display order, places in decoding order."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pv_sparse.data.packet_index import Packet, PacketTable, index_packets


def packets(*pts, keys=(0,), size=100, **fields) -> list[Packet]:
    """In decoding order; `keys` are places in it."""
    return [Packet(p, place, size, place in keys, **fields) for place, p in enumerate(pts)]


# Two closed groups, I P B B each: shown as 0 1 2 3, 4 5 6 7.
CLOSED = packets(0, 3, 1, 2, 4, 7, 5, 6, keys=(0, 4))
# The second group is open: the B-frames 4 and 5 follow its keyframe 6 in decoding, and are shown before it.
OPEN = packets(0, 3, 1, 2, 6, 4, 5, 7, keys=(0, 4))


def index_of(packets, *arguments, **options):
    return index_packets(PacketTable.of(packets), *arguments, **options)


def places(run) -> tuple[int, int]:
    return run.key.packet, run.stop


def test_frames_are_numbered_by_time():
    index = index_of(CLOSED, "h264")
    assert index.timestamps.tolist() == list(range(8))
    assert [index.packet_of[pts] for pts in index.timestamps.tolist()] == [0, 2, 3, 1, 4, 6, 7, 5]
    assert index.keyframes == [0, 4]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([0], [(0, 1)]),
        ([2], [(0, 4)]),
        ([3], [(0, 2)]),
        ([4], [(4, 5)]),
        ([0, 7], [(0, 1), (4, 6)]),
        ([2, 4], [(0, 5)]),
        ([7, 0, 0], [(0, 1), (4, 6)]),
        (range(8), [(0, 8)]),
    ],
)
def test_a_run_starts_at_the_keyframe_and_ends_at_the_last_packet(wanted, expected):
    assert [places(run) for run in index_of(CLOSED, "h264").runs(wanted)] == expected


def test_frames_before_an_open_groups_keyframe_need_the_group_before():
    index = index_of(OPEN, "hevc")
    assert [places(run) for run in index.runs([5])] == [(0, 7)]
    assert [places(run) for run in index.runs([6])] == [(4, 5)]
    assert [places(run) for run in index.runs([5, 7])] == [(0, 8)]
    assert index.keyframes == [0, 6]


def test_frames_cut_away_are_decoded_but_not_numbered():
    hidden = [packet._replace(is_discard=packet.pts < 2) for packet in CLOSED]
    index = index_of(hidden, "h264")
    assert index.timestamps.tolist() == [2, 3, 4, 5, 6, 7]
    assert [places(run) for run in index.runs([0])] == [(0, 4)]
    assert index.keyframes == [2]


@given(st.lists(st.integers(2, 6), min_size=1, max_size=8), st.data())
def test_runs_hold_every_wanted_frame_and_never_overlap(groups, data):
    """Closed groups of some lengths, the last frame of each decoded right after its keyframe."""
    pts, keys = [], []
    for length in groups:
        start = len(pts)
        keys.append(start)
        pts += [start, start + length - 1, *range(start + 1, start + length - 1)]
    index = index_of(packets(*pts, keys=keys), "h264")
    wanted = data.draw(st.lists(st.integers(0, len(pts) - 1), min_size=1))
    runs = index.runs(wanted)
    assert frozenset().union(*(run.timestamps for run in runs)) == set(wanted)
    for run in runs:
        assert run.key.packet in keys
        assert all(run.key.packet <= index.packet_of[pts] < run.stop for pts in run.timestamps)
        assert index.packet_of[max(run.timestamps)] < run.stop
    for before, after in pairwise(runs):
        assert before.stop < after.key.packet


@pytest.mark.parametrize(
    ("given_packets", "arguments"),
    [
        (CLOSED, {"codec": "vp8"}),
        (CLOSED, {"codec": "h264", "container": "avi"}),
        (packets(0, 1, 2, size=8), {"codec": "mpeg4"}),
        (packets(0, None, 2), {"codec": "h264"}),
        (packets(0, 1, 1), {"codec": "h264"}),
        (packets(0, 1, 2, keys=(1,)), {"codec": "h264"}),
        (packets(2, 0, 1), {"codec": "h264"}),
        (packets(0, 1, is_corrupt=True), {"codec": "h264"}),
        ([], {"codec": "h264"}),
    ],
    ids=[
        "a codec with hidden frames",
        "b_frames_in_avi",
        "placeholders",
        "no_timestamp",
        "a_timestamp_twice",
        "a_start_without_keyframe",
        "frames_before_the_first_keyframe",
        "a_packet_cut_through",
        "nothing",
    ],
)
def test_what_proves_nothing(given_packets, arguments):
    assert index_of(given_packets, **arguments) is None


def test_avi_without_b_frames_is_proof_enough():
    assert index_of(packets(0, 1, 2), "mpeg4", "avi", reorders=False) is not None
