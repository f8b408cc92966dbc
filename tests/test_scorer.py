"""The light scorer of looks, and the selector that it makes, on real files."""

import pickle
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from index_video import write_index_video
from odd_videos import write_all
from PIL import Image
from pytorchvideo.data import LabeledVideoDataset
from torch.utils.data import DataLoader, SequentialSampler

from pv_sparse import SegmentClipSampler, SparseVideo, SparseVideoPathHandler, VideoDecodeError
from pv_sparse.data.dataset import SparseVideoDataset
from pv_sparse.data.frame_folder import FrameFolder
from pv_sparse.data.segment_plan import SegmentPlan
from pv_sparse.data.segments import Packets
from pv_sparse.data.selectors import Saliency, get_selector, glance
from pv_sparse.models.selection import LookScorer, encoded_times


def small_scorer(**arguments) -> LookScorer:
    """Of random weights, which are sure of what they say."""
    torch.manual_seed(3)
    scorer = LookScorer(**{"size": 32, "width": 4, **arguments}).eval()
    torch.nn.init.normal_(scorer.score.weight, std=2)
    return scorer


def some_looks(count: int = 6, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    looks = torch.randint(256, (2, count, 3, size, size), dtype=torch.uint8)
    return looks, torch.linspace(0, 1, count).expand(2, count)


@pytest.fixture(scope="module")
def saliency() -> Saliency:
    return Saliency(small_scorer(), num_looks=16)


def chosen(path, sampler: SegmentClipSampler) -> list[int]:
    with SparseVideo(path) as video:
        return sampler.plan(seed=0).indices(video).tolist()


@pytest.mark.parametrize("arguments", [{}, {"attention": False}, {"size": 64, "width": 16}, {"size": 16}])
def test_a_logit_for_each_look(arguments):
    scorer = small_scorer(**arguments)
    looks, times = some_looks(size=scorer.size)
    logits = scorer(looks, times)
    assert logits.shape == (2, 6)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, scorer(looks, times))
    torch.testing.assert_close(logits[1:], scorer(looks[1:], times[1:]))


def test_a_look_is_judged_beside_the_others_of_its_video_and_by_its_time():
    looks, times = some_looks()
    others = looks.clone()
    others[:, 1:] = 0
    for attention in (True, False):
        scorer = small_scorer(attention=attention)
        alone = bool(torch.allclose(scorer(looks, times)[:, 0], scorer(others, times)[:, 0]))
        timeless = bool(torch.allclose(scorer(looks, times), scorer(looks, times / 2)))
        assert alone == timeless == (not attention)


def test_it_is_as_small_as_it_says():
    assert 55e3 < sum(own.numel() for own in LookScorer().parameters()) < 60e3


def test_times_are_waves():
    waves = encoded_times(torch.tensor([[0.0, 1.0]]), 16)
    assert waves.shape == (1, 2, 16)
    assert waves[0, 0].tolist() == [0.0] * 8 + [1.0] * 8
    assert waves[0, 1, 8] == pytest.approx(-1)  # half a wave over the video


@pytest.mark.parametrize(
    ("looks", "shape"),
    [
        (torch.zeros(1, 5, 3, 64, 64, dtype=torch.uint8), "(1, 5, 3, 64, 64)"),
        (torch.zeros(1, 5, 2, 32, 32, dtype=torch.uint8), "(1, 5, 2, 32, 32)"),
        (torch.zeros(1, 5, 3, 32, 32), "(1, 5, 3, 32, 32)"),
        (torch.zeros(5, 3, 32, 32, dtype=torch.uint8), "(5, 3, 32, 32)"),
    ],
)
def test_other_looks_are_told(looks, shape):
    words = f"looks of {looks.dtype} and shape {shape} were given: this scorer reads RGB, (N, K, 3, 32, 32) uint8"
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        small_scorer()(looks, torch.zeros(1, 5))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: LookScorer(size=60), "size=60 is not allowed: it must be a multiple of 16"),
        (lambda: LookScorer(size=0), "size=0 is not allowed: it must be a multiple of 16"),
        (lambda: LookScorer(width=6), "width=6 is not allowed: it must be a multiple of 4"),
        (lambda: Saliency(small_scorer(), even_share=2), "even_share=2 is not allowed: it must be from 0 to 1"),
        (lambda: Saliency(small_scorer(), num_looks=0), "num_looks=0 is not allowed: it must be at least 1"),
        (
            lambda: SegmentClipSampler(8, select="saliency"),
            r"select='saliency' needs a scorer that was trained: give pv_sparse.load_selector\(weights\)",
        ),
        (
            lambda: SegmentClipSampler(8, rule="motion", select=Saliency(small_scorer())),
            "rule='motion' has segments of its own",
        ),
    ],
)
def test_what_makes_no_sense_is_told(make, told):
    with pytest.raises(ValueError, match=told):
        make()


@settings(max_examples=30)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 10), st.floats(0, 1))
def test_frames_are_in_order_in_range_and_unique_while_they_suffice(num_frames, num_segments, seed, even_share):
    scorer = small_scorer()
    video = Numbered(num_frames, seed)
    plan = SegmentPlan(num_segments, select=Saliency(scorer, even_share, num_looks=9))
    frames = plan.indices(video).tolist()
    assert frames == plan.indices(video).tolist()
    assert frames == sorted(frames)
    assert 0 <= frames[0] <= frames[-1] < num_frames
    assert len(set(frames)) == min(num_segments, num_frames)


class Numbered:
    """Frames of noise, with a keyframe every 12; what a selector reads of a video."""

    def __init__(self, num_frames: int, seed: int):
        noise = np.random.default_rng(seed).integers(256, size=(num_frames, 3, 2, 2), dtype=np.uint8)
        self._noise = torch.from_numpy(noise)
        self.num_frames, self.duration_seconds = num_frames, num_frames / 25
        self.packets = Packets(keyframes=list(range(0, num_frames, 12)))

    def frames_at(self, indices, size):
        return self._noise[indices].repeat_interleave(size[0] // 2, 2).repeat_interleave(size[1] // 2, 3)


def test_weights_are_shares_of_the_looks(index_video, saliency):
    with SparseVideo(index_video) as video:
        seen = glance(video, 16, 32)
        weights = saliency.weights(video, 8)
        with torch.no_grad():
            shares = saliency.scorer(seen.looks[None], seen.times[None])[0].softmax(0)
    assert seen.looks.shape == (len(seen.indices), 3, 32, 32)
    assert weights.shape == (60,)
    assert weights.sum() == pytest.approx(1)
    assert weights[seen.indices[int(shares.argmax())]] == weights.max()
    assert weights.min() >= 0.1 / 60


@pytest.mark.parametrize(("counting", "sure"), [(1, True), (2, True), (5, False), (16, False)])
def test_frames_are_even_where_many_looks_count(counting, sure):
    """Of 16 looks, more than a quarter: the video is sampled as without a selector."""
    video = Numbered(160, 0)

    class Told:
        size = 32

        def __call__(self, looks, times):
            return torch.where(torch.arange(looks.shape[1]) < counting, 10.0, 0.0)[None]

    frames = SegmentPlan(8, select=Saliency(Told(), num_looks=16)).indices(video).flatten()
    away = (frames - SegmentPlan(8).indices(video).flatten()).abs().max()
    assert (away > 8) == sure


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_both_datasets_and_their_workers_see_the_same_frames(index_video, saliency, method):
    sampler = SegmentClipSampler(8, select=saliency)
    path = str(index_video)
    stock = LabeledVideoDataset([(path, {"label": 0})], sampler, video_sampler=SequentialSampler)
    stock.video_path_handler = SparseVideoPathHandler()
    ours = SparseVideoDataset([(path, {"label": 0})], sampler)
    expected = chosen(path, sampler)
    assert expected != chosen(path, SegmentClipSampler(8))
    for dataset in (stock, ours):
        (sample,) = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context=method)
        assert sample["frame_indices"].tolist() == expected


def test_it_is_pickled_with_its_sampler(index_video, saliency):
    sampler = SegmentClipSampler(8, select=saliency)
    assert chosen(index_video, pickle.loads(pickle.dumps(sampler))) == chosen(index_video, sampler)
    assert get_selector(saliency) is saliency


@pytest.mark.parametrize("num_frames", [1, 3, 8, 9])
def test_short_videos(tmp_path, saliency, num_frames):
    path = write_index_video(tmp_path / "short.mp4", num_frames)
    frames = chosen(path, SegmentClipSampler(8, select=saliency))
    assert frames == sorted(frames)
    assert len(frames) == 8
    assert len(set(frames)) == min(8, num_frames)


def test_one_keyframe(tmp_path, saliency):
    path = write_index_video(tmp_path / "one.mp4", 120, gop=1000)
    frames = chosen(path, SegmentClipSampler(8, select=saliency))
    assert len(set(frames)) == 8
    assert frames[-1] > 60


@pytest.mark.slow
def test_damaged_and_odd_videos_give_frames_or_are_told(tmp_path, saliency):
    seen = 0
    for path in write_all(tmp_path).values():
        try:
            with SparseVideo(path) as video:
                frames = SegmentClipSampler(8, select=saliency).plan(0).indices(video)
                assert frames.tolist() == sorted(frames.tolist())
                assert int(frames.max()) < video.num_frames
                seen += 1
        except VideoDecodeError as error:
            assert path.name in str(error)  # noqa: PT017
    assert seen > 40


def test_a_damaged_end(tmp_path, index_video, saliency):
    content = bytearray(index_video.read_bytes())
    frames, rest = content.index(b"mdat"), content.rindex(b"moov")
    content[(frames + rest) // 2 : rest - 4] = bytes(rest - 4 - (frames + rest) // 2)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    with pytest.raises(VideoDecodeError, match=r"damaged.mp4: .*frame") as caught:
        chosen(damaged, SegmentClipSampler(8, select=saliency))
    assert "\n" not in str(caught.value)


def test_flow_is_told(tmp_path, saliency):
    for number in range(1, 5):
        for axis in ("x", "y"):
            Image.new("L", (40, 30), number).save(tmp_path / f"flow_{axis}_{number:05d}.png")
    words = (
        r"^looks of torch.uint8 and shape \(1, 4, 2, 32, 32\) were given: this scorer reads RGB, \(N, K, 3, 32, 32\)"
    )
    with pytest.raises(ValueError, match=words) as caught, FrameFolder(tmp_path, "flow") as flow:
        SegmentPlan(8, select=saliency).indices(flow)
    assert "\n" not in str(caught.value)
