"""Selectors on real files, and in every place that a sampler goes."""

import pickle

import numpy as np
import pytest
import torch
from index_video import write_index_video
from pytorchvideo.data import LabeledVideoDataset
from torch.utils.data import DataLoader, SequentialSampler

from pv_sparse import SegmentClipSampler, SparseVideo, SparseVideoPathHandler, VideoDecodeError
from pv_sparse.data.dataset import SparseVideoDataset
from pv_sparse.data.encoding import write_video
from pv_sparse.data.frame_array import FrameArray
from pv_sparse.data.segment_plan import SegmentPlan
from pv_sparse.data.selectors import SELECTORS, Diverse, Even, Motion, get_selector

NUM_FRAMES, EVENT = 400, range(200, 220)


@pytest.fixture(scope="module")
def untrimmed(tmp_path_factory):
    """A grey wall, and for a twentieth of the time a bright square that moves over it."""
    pictures = np.full((NUM_FRAMES, 96, 96, 3), 90, np.uint8)
    for number, left in zip(EVENT, range(0, 60, 3), strict=True):
        pictures[number, 30:60, left : left + 30] = (250, 220, 0)
    path = tmp_path_factory.mktemp("untrimmed") / "event.mp4"
    write_video(path, pictures, keyframe_interval=10)
    return str(path)


def chosen(path: str, sampler: SegmentClipSampler) -> list[int]:
    with SparseVideo(path) as video:
        return sampler.plan(seed=0).indices(video).tolist()


def seen_of_event(frames: list[int]) -> int:
    return sum(frame in EVENT for frame in frames)


def test_even_is_as_without_a_selector(untrimmed):
    assert chosen(untrimmed, SegmentClipSampler(8, select="even")) == chosen(untrimmed, SegmentClipSampler(8))
    assert seen_of_event(chosen(untrimmed, SegmentClipSampler(8))) <= 1


@pytest.mark.parametrize("select", ["motion", "diverse"])
def test_selectors_find_what_takes_a_twentieth_of_the_time(untrimmed, select):
    frames = chosen(untrimmed, SegmentClipSampler(8, select=select))
    assert frames == sorted(set(frames))
    assert seen_of_event(frames) >= 2
    assert frames[0] < EVENT.start  # and keep a share of the rest
    assert frames[-1] >= EVENT.stop


def test_an_even_share_of_one_is_even(untrimmed):
    for selector in (Motion(even_share=1), Diverse(even_share=1)):
        differences = np.subtract(
            chosen(untrimmed, SegmentClipSampler(8, select=selector)), chosen(untrimmed, SegmentClipSampler(8))
        )
        assert np.abs(differences).max() <= 1


@pytest.mark.parametrize("select", sorted(SELECTORS))
def test_clips_and_draws(untrimmed, select):
    sampler = SegmentClipSampler(4, rule="random", select=select)
    with SparseVideo(untrimmed) as video:
        draws = [tuple(sampler.plan(seed).indices(video).tolist()) for seed in (1, 2, 1)]
        assert draws[0] == draws[2] != draws[1]
        both = SegmentClipSampler(4, clips_per_video=2, select=select)
        frames = [frame for clip in (0, 1) for frame in both.plan(0, clip).indices(video).tolist()]
    assert len(set(frames)) == 8


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_both_datasets_and_their_workers_see_the_same_frames(untrimmed, method):
    sampler = SegmentClipSampler(8, select="diverse")
    stock = LabeledVideoDataset([(untrimmed, {"label": 0})], sampler, video_sampler=SequentialSampler)
    stock.video_path_handler = SparseVideoPathHandler()
    ours = SparseVideoDataset([(untrimmed, {"label": 0})], sampler)
    expected = chosen(untrimmed, sampler)
    for dataset in (stock, ours):
        (sample,) = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context=method)
        assert sample["frame_indices"].tolist() == expected
        assert sample["video"].shape == (3, 8, 96, 96)


@pytest.mark.parametrize("select", sorted(SELECTORS))
@pytest.mark.parametrize("num_frames", [1, 3, 8, 9])
def test_short_videos(tmp_path, select, num_frames):
    path = str(write_index_video(tmp_path / "short.mp4", num_frames))
    frames = chosen(path, SegmentClipSampler(8, select=select))
    assert len(frames) == 8
    assert frames == sorted(frames)
    assert set(frames) == set(range(num_frames)) if num_frames <= 8 else len(set(frames)) == 8


@pytest.mark.parametrize("select", sorted(SELECTORS))
def test_one_keyframe(tmp_path, select):
    path = str(write_index_video(tmp_path / "one.mp4", 120, gop=1000))
    frames = chosen(path, SegmentClipSampler(8, select=select))
    assert len(set(frames)) == 8
    assert frames[-1] > 60


@pytest.mark.parametrize("select", ["motion", "diverse"])
def test_a_damaged_end_gives_frames_or_is_told(tmp_path, untrimmed, select):
    with open(untrimmed, "rb") as file:
        content = bytearray(file.read())
    content[len(content) // 2 : -2000] = bytes(len(content) - 2000 - len(content) // 2)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    try:
        with SparseVideo(damaged) as video:
            frames = SegmentClipSampler(8, select=select).plan(0).indices(video)
            assert int(frames.max()) < NUM_FRAMES
    except VideoDecodeError as error:
        assert "damaged.mp4" in str(error)  # noqa: PT017


def test_arrays_of_frames_have_no_sizes_and_are_sampled_evenly(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros((50, 3, 8, 8), np.uint8))
    with FrameArray(tmp_path / "array.npy") as video:
        assert Motion().weights(video, 8) is None
        even = SegmentPlan(8).indices(video)
        assert torch.equal(SegmentPlan(8, select=Motion()).indices(video), even)
        assert len(SegmentPlan(8, select=Diverse()).indices(video).unique()) == 8


def test_selectors_are_pickled_with_their_sampler():
    sampler = pickle.loads(pickle.dumps(SegmentClipSampler(8, select=Diverse(even_share=0.5))))
    assert sampler.select == Diverse(even_share=0.5)
    assert get_selector("even") == Even()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: SegmentClipSampler(8, select="salient"), "select='salient' is unknown: choose one of even, motion, d"),
        (lambda: SegmentClipSampler(8, select=3), "select=3 is unknown: choose one of even, motion, diverse"),
        (lambda: SegmentClipSampler(8, rule="motion", select="diverse"), "rule='motion' has segments of its own"),
        (lambda: SegmentClipSampler(8, rule="twice", select="diverse"), "take one of center, random"),
        (lambda: Diverse(even_share=1.5), "even_share=1.5 is not allowed: it must be from 0 to 1"),
        (lambda: Motion(even_share=-1), "even_share=-1 is not allowed: it must be from 0 to 1"),
        (lambda: Diverse(num_looks=0), "num_looks=0 is not allowed: it must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_told(make, told):
    with pytest.raises(ValueError, match=told):
        make()
