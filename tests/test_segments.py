"""Sampling: the originals' tables to the last frame, and what our own rules promise."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pv_sparse.data.rules import DENSE_VIEWS, RULES
from pv_sparse.data.segments import SHORT_POLICIES, Packets, segment_indices

GOLDEN = Path(__file__).parent / "golden"
counts = st.integers(1, 80)


def golden(family: str, table: str = "data") -> dict:
    return json.loads((GOLDEN / f"samplers_{family}.json").read_text())[table]


def rows(family: str, table: str = "data") -> Iterator[tuple[int, int, int, dict]]:
    """(num_frames, num_segments, frames_per_segment, row) of each row, from keys such as L5_K3_n100."""
    for key, row in golden(family, table).items():
        numbers = {part[0]: int(part[1:]) for part in key.split("_")}
        yield numbers["n"], numbers["K"], numbers.get("L", 1), row


def firsts(rule: str, n: int, segments: int, length: int) -> list[int]:
    return segment_indices(n, segments, length, rule)[:, 0].tolist()


def flat(rule: str, n: int, segments: int, length: int = 1) -> list[int]:
    return segment_indices(n, segments, length, rule).flatten().tolist()


def lowest_draw(high: int) -> int:
    return 0


def highest_draw(high: int) -> int:
    return high - 1


def extreme(rule: str, n: int, segments: int, length: int, highest: bool) -> list[int]:
    """The starts when every draw is at its lowest, or at its highest."""
    starts = RULES[rule].starts(n, segments, length, highest_draw if highest else lowest_draw)
    return [min(start, n - 1) for start in starts]


def zero_based(frames: list[int]) -> list[int]:
    return [frame - 1 for frame in frames]


# The originals


def test_tsn_val_is_the_original():
    for n, k, length, row in rows("tsn_trn_eco"):
        assert firsts("tsn_val", n, k, length) == zero_based(row["val"]), (n, k, length)


def test_tsn_test_is_the_original_save_for_frames_before_the_first():
    differing = 0
    for n, k, length, row in rows("tsn_trn_eco"):
        expected = zero_based(row["test"])
        differing += min(expected) < 0
        assert firsts("tsn_test", n, k, length) == [max(0, frame) for frame in expected], (n, k, length)
    assert differing == 35


def test_tsn_train_is_the_original_at_its_lowest_and_highest_draw():
    for n, k, length, row in rows("tsn_trn_eco"):
        for table, highest in (("train_min", False), ("train_max", True)):
            if isinstance(row[table], str):
                assert "ValueError" in row[table]
                with pytest.raises(ValueError, match=f"cannot draw {length} frames per segment from a video of {n}"):
                    segment_indices(n, k, length, "tsn_train")
            else:
                assert extreme("tsn_train", n, k, length, highest) == zero_based(row[table]), (n, k, length)


def test_caffe_is_the_original():
    for n, k, length, row in rows("caffe", "videodata"):
        assert firsts("caffe_test", n, k, length) == zero_based(row["test"]), (n, k, length)
        assert extreme("caffe_train", n, k, length, False) == zero_based(row["train_min"]), (n, k, length)
        assert extreme("caffe_train", n, k, length, True) == zero_based(row["train_max"]), (n, k, length)


def test_caffe_eval25_is_the_original():
    for key, row in golden("caffe", "tsn_eval25").items():
        modality, n = key.split("_n")
        length = 1 if modality == "rgb" else 5
        assert firsts("caffe_eval25", int(n), 25, length) == zero_based(row), key


def test_mmaction2_is_the_original():
    for n, k, _, row in rows("mmaction2"):
        for table, expected in row.items():
            rule, length = {"dense_test_clip1": ("mmaction2_dense", 1), "test_clip1_twice": ("twice", 1)}.get(
                table, (f"mmaction2_{table.split('_')[0]}", int(table.split("clip")[1][0]))
            )
            if table.endswith(("_min", "_max")):
                starts = RULES[rule].starts(n, k, length, highest_draw if table.endswith("max") else lowest_draw)
                got = [(start + j) % n for start in starts for j in range(length)]
            else:
                got = flat(rule, n, k, length)
            assert got == expected, (n, k, table)


def test_tsm_is_the_original():
    for n, k, length, row in rows("tsm_extra"):
        assert firsts("tsm_twice", n, k, length) == zero_based(row["test_twice"]), (n, k)
        assert firsts("tsm_dense", n, k, length) == zero_based(row["test_dense"]), (n, k)


@pytest.mark.parametrize("rule", ["tsn_train", "mmaction2_train", "caffe_train", "random"])
@pytest.mark.parametrize(("n", "k", "length"), [(40, 4, 1), (43, 4, 5)])
def test_each_frame_of_a_segment_is_drawn_equally_often(rule, n, k, length):
    generator = torch.Generator().manual_seed(0)
    draws = 4000
    starts = torch.stack([segment_indices(n, k, length, rule, generator)[:, 0] for _ in range(draws)])
    for i, (low, high) in enumerate(zip(*(extreme(rule, n, k, length, top) for top in (False, True)), strict=True)):
        seen = torch.bincount(starts[:, i], minlength=n)
        assert seen[:low].sum() == seen[high + 1 :].sum() == 0
        expected = draws / (high - low + 1)
        assert (seen[low : high + 1] - expected).abs().max() < 5 * expected**0.5


def test_tsn_train_of_a_middling_video_is_a_sorted_draw_with_repeats():
    generator = torch.Generator().manual_seed(0)
    starts = torch.stack([segment_indices(9, 8, 3, "tsn_train", generator)[:, 0] for _ in range(500)])
    assert (starts.diff() >= 0).all()
    assert sorted(set(starts.flatten().tolist())) == list(range(7))


# Our own rules


@given(n=counts, k=counts, length=st.integers(1, 9), rule=st.sampled_from(sorted(RULES)), seed=st.integers(0, 99))
def test_every_rule_keeps_its_shape_and_stays_inside_the_video(n, k, length, rule, seed):
    if rule == "tsn_train" and length > n > k:
        return
    for short in ("repeat_last", "loop"):
        generator = torch.Generator().manual_seed(seed)
        indices = segment_indices(n, k, length, rule, generator, short, packets=Packets(range(n), [0]))
        assert indices.shape == (RULES[rule].num_views * k, length)
        assert indices.dtype == torch.int64
        assert indices.min() >= 0
        assert indices.max() < n


@given(n=counts, k=counts, length=st.integers(1, 9), rule=st.sampled_from(["center", "random", "uniform"]))
def test_time_never_runs_backwards(n, k, length, rule):
    indices = segment_indices(n, k, length, rule)
    assert (indices[:, 0].diff() >= 0).all()
    assert (indices.diff(dim=1) >= 0).all()


@pytest.mark.parametrize("rule", ["center", "random", "uniform"])
@given(k=counts)
def test_as_many_frames_as_segments_give_each_frame_once(rule, k):
    assert flat(rule, k, k) == list(range(k))


@given(n=counts, k=counts, length=st.integers(1, 9))
def test_random_can_draw_every_frame(n, k, length):
    lowest, highest = (extreme("random", n, k, length, top) for top in (False, True))
    reachable = {
        f + j for lo, hi in zip(lowest, highest, strict=True) for f in range(lo, hi + 1) for j in range(length)
    }
    assert reachable >= set(range(n)) or n < k + length - 1


@given(n=counts, k=counts)
def test_random_never_draws_a_frame_twice_when_there_are_enough(n, k):
    if n >= k:
        assert len(set(flat("random", n, k))) == k


def test_uniform_is_the_hosts_uniform_temporal_subsample():
    functional = pytest.importorskip("pytorchvideo.transforms.functional")
    for n in range(1, 200):
        clip = torch.arange(n).reshape(1, n, 1, 1)
        for k in (1, 2, 3, 8, 25):
            assert functional.uniform_temporal_subsample(clip, k).flatten().tolist() == flat("uniform", n, k)


def test_dense_windows_run_from_the_first_frame_to_the_last():
    views = segment_indices(300, 8, rule="dense").reshape(DENSE_VIEWS, 8)
    assert views[0].tolist() == [0, 8, 16, 24, 32, 40, 48, 56]
    assert views[-1].tolist() == [236 + i for i in (0, 8, 16, 24, 32, 40, 48, 56)]
    assert segment_indices(8, 8, rule="dense").tolist() == [[i] for i in list(range(8)) * DENSE_VIEWS]


def test_draws_come_from_the_generator_or_from_torchs_own():
    first = flat_random = segment_indices(500, 8, rule="random", generator=torch.Generator().manual_seed(1))
    assert torch.equal(first, segment_indices(500, 8, rule="random", generator=torch.Generator().manual_seed(1)))
    torch.manual_seed(1)
    assert torch.equal(flat_random, segment_indices(500, 8, rule="random"))


# Short videos


@pytest.mark.parametrize(
    ("short", "expected"),
    [("repeat_last", [[0, 1, 1, 1]]), ("loop", [[0, 1, 0, 1]]), (None, [[0, 1, 1, 1]])],
)
def test_frames_past_the_end(short, expected):
    assert segment_indices(2, 1, 4, short=short).tolist() == expected


def test_fewer_frames_than_segments_repeat_in_order():
    assert flat("center", 5, 8) == [0, 0, 1, 2, 2, 3, 4, 4]
    assert flat("center", 1, 3) == [0, 0, 0]


@pytest.mark.parametrize("rule", ["center", "random", "tsn_test"])
def test_short_error_names_what_is_needed(rule):
    with pytest.raises(ValueError, match="7 frames is too short for 8 segments of 1 frames: they need at least 8"):
        segment_indices(7, 8, rule=rule, short="error")
    assert segment_indices(8, 8, rule=rule, short="error").shape == (8, 1)
    with pytest.raises(ValueError, match="need at least 12 frames; ask for fewer segments"):
        segment_indices(11, 8, 5, rule=rule, short="error")


# Bad input


@pytest.mark.parametrize("name", ["num_frames", "num_segments", "frames_per_segment"])
def test_counts_below_one_are_refused(name):
    arguments = {"num_frames": 9, "num_segments": 3, "frames_per_segment": 1, name: 0}
    with pytest.raises(ValueError, match=f"{name}=0 is not allowed: it must be at least 1"):
        segment_indices(**arguments)


def test_unknown_names_list_what_there_is():
    with pytest.raises(ValueError, match=r"rule='centre' is unknown: choose one of caffe_eval25, .*center"):
        segment_indices(9, 3, rule="centre")
    with pytest.raises(ValueError, match=f"short='stretch' is unknown: choose one of {', '.join(SHORT_POLICIES)}"):
        segment_indices(9, 3, short="stretch")
