"""The seam: our sampler and decoder inside the host's own LabeledVideoDataset and DataLoader."""

import io
import logging
import pickle
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from index_video import read_numbers, write_index_video
from pytorchvideo.data import LabeledVideoDataset
from pytorchvideo.data.clip_sampling import ClipInfo, make_clip_sampler
from pytorchvideo.data.video import VideoPathHandler
from pytorchvideo.transforms import ApplyTransformToKey, UniformTemporalSubsample
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from pv_sparse import (
    EncodedVideoSparse,
    SegmentClipSampler,
    SparseVideoPathHandler,
    VideoDecodeError,
    segment_indices,
)
from pv_sparse.data.clip_sampling import PlannedStart
from pv_sparse.data.rules import RULES
from pv_sparse.data.segment_plan import SegmentPlan
from pv_sparse.data.segments import Packets

LENGTHS = [60, 48, 33, 7]


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> list:
    folder = tmp_path_factory.mktemp("seam")
    return [
        (str(write_index_video(folder / f"{number}.mp4", length)), {"label": number})
        for number, length in enumerate(LENGTHS)
    ]


def dataset_of(videos, sampler, dtype="float32", **arguments) -> LabeledVideoDataset:
    labeled = [(path, dict(info)) for path, info in videos]
    dataset = LabeledVideoDataset(labeled, sampler, **{"video_sampler": SequentialSampler, **arguments})
    dataset.video_path_handler = SparseVideoPathHandler(dtype)
    return dataset


def numbers_of(clip: torch.Tensor) -> list[int]:
    """The frame numbers that a clip (3, T, H, W) shows."""
    return read_numbers(clip.transpose(0, 1))


@pytest.mark.parametrize("decode_audio", [True, False])
def test_samples_hold_the_frames_of_the_rule(videos, decode_audio):
    dataset = dataset_of(videos, SegmentClipSampler(num_segments=8), decode_audio=decode_audio)
    samples = list(dataset)
    assert [sample["label"] for sample in samples] == [0, 1, 2, 3]
    for sample, length in zip(samples, LENGTHS, strict=True):
        expected = segment_indices(length, 8).flatten()
        clip = sample["video"]
        assert numbers_of(clip) == expected.tolist()
        assert clip.shape == (3, 8, 96, 160)
        assert clip.dtype == torch.float32
        assert clip.is_contiguous()
        assert torch.equal(sample["frame_indices"], expected)
        torch.testing.assert_close(sample["frame_times_seconds"], expected.double() / 25)
        assert sample["video_num_frames"] == length
        assert (sample["clip_index"], sample["aug_index"]) == (0, 0)
        assert "audio" not in sample


def test_groups_of_frames_and_views(videos):
    sample = next(iter(dataset_of(videos, SegmentClipSampler(3, frames_per_segment=5))))
    assert numbers_of(sample["video"]) == segment_indices(60, 3, 5).flatten().tolist()
    views = next(iter(dataset_of(videos, SegmentClipSampler(4, rule="twice"))))
    assert views["video"].shape[1] == 8


def test_uint8_by_choice(videos):
    clip = next(iter(dataset_of(videos, SegmentClipSampler(4), dtype="uint8")))["video"]
    assert clip.dtype == torch.uint8
    assert numbers_of(clip) == segment_indices(60, 4).flatten().tolist()


@pytest.mark.parametrize(
    "method", ["fork", *(pytest.param(method, marks=pytest.mark.slow) for method in ("spawn", "forkserver"))]
)
def test_workers_and_the_default_collate(videos, method):
    dataset = dataset_of(videos, SegmentClipSampler(8, rule="random"))
    seen = {}
    for batch in DataLoader(dataset, batch_size=2, num_workers=2, multiprocessing_context=method):
        assert batch["video"].shape[1:] == (3, 8, 96, 160)
        for clip, label, indices in zip(batch["video"], batch["label"], batch["frame_indices"], strict=True):
            assert numbers_of(clip) == indices.tolist()
            seen[int(label)] = indices.tolist()
    assert sorted(seen) == [0, 1, 2, 3]


def test_the_hosts_random_order_under_fork(videos):
    dataset = dataset_of(videos, SegmentClipSampler(8), video_sampler=RandomSampler)
    batches = list(DataLoader(dataset, batch_size=2, num_workers=2, multiprocessing_context="fork"))
    assert sorted(label for batch in batches for label in batch["label"].tolist()) == [0, 1, 2, 3]


def test_workers_draw_differently_and_seeds_repeat(videos):
    dataset = dataset_of(videos[:1] * 4, SegmentClipSampler(8, rule="random"))

    def draws(seed: int) -> list[list[int]]:
        torch.manual_seed(seed)
        loader = DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context="fork")
        return [sample["frame_indices"].tolist() for sample in loader]

    first = draws(1)
    assert len({tuple(indices) for indices in first}) > 2
    assert first == draws(1)
    assert first != draws(2)


def test_rules_without_chance_leave_the_random_state_alone():
    state = torch.get_rng_state()
    SegmentClipSampler(8)(0.0, Fraction(10), {})
    assert torch.equal(state, torch.get_rng_state())


def test_a_stock_decoder_gives_the_whole_video_instead(videos):
    dataset = dataset_of(videos[:1], SegmentClipSampler(8), decode_audio=False)
    dataset.video_path_handler = VideoPathHandler()
    dataset._transform = ApplyTransformToKey("video", UniformTemporalSubsample(8))
    assert numbers_of(next(iter(dataset))["video"]) == segment_indices(60, 8, rule="uniform").flatten().tolist()


@pytest.mark.parametrize("kind", ["random", "uniform", "constant_clips_per_video"])
def test_stock_samplers_decode_with_us_too(videos, kind):
    clips_per_video = [3] if kind == "constant_clips_per_video" else []
    samples = list(dataset_of(videos[:1], make_clip_sampler(kind, Fraction(2, 5), *clips_per_video)))
    assert len(samples) == {"random": 1, "uniform": 6, "constant_clips_per_video": 3}[kind]
    for sample in samples:
        numbers = numbers_of(sample["video"])
        assert len(numbers) == 10
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_file_that_does_not_open_is_told_by_name(videos, tmp_path, caplog):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    dataset = dataset_of([(str(broken), {"label": 9}), *videos[:1]], SegmentClipSampler(8))
    with caplog.at_level(logging.WARNING):
        assert [sample["label"] for sample in dataset] == [0]
    assert "broken.mp4: it is not a video" in caplog.text


def test_the_host_may_ask_without_an_annotation():
    info = SegmentClipSampler(8)(None, 2.5, None)
    assert isinstance(info, ClipInfo)
    assert (float(info.clip_start_sec), info.clip_end_sec, info.is_last_clip) == (0.0, 2.5, True)


def test_a_plan_survives_pickling_and_repeats_itself():
    plan = SegmentPlan(8, 1, "random", None, seed=5)
    start = pickle.loads(pickle.dumps(PlannedStart(plan, {"label": 1})))
    assert start == 0
    assert (start.plan, start.annotation) == (plan, {"label": 1})
    assert torch.equal(plan.indices_of(100, Packets()), start.plan.indices_of(100, Packets()))


def drawn(sampler, video, times: int) -> list[tuple]:
    """What the host asks and gets: (clip_index, aug_index, is_last_clip, frame numbers)."""
    infos = [sampler(last, video.duration, {}) for last in ([0.0, None, [1.0, 2.0]] * times)[:times]]
    return [
        (
            info.clip_index,
            info.aug_index,
            info.is_last_clip,
            info.clip_start_sec.plan.indices_of(60, Packets()).tolist(),
        )
        for info in infos
    ]


@pytest.mark.parametrize("rule", ["center", "random", "tsn_train"])
def test_clips_and_augmentations_come_as_from_the_hosts_samplers(videos, rule):
    ours = SegmentClipSampler(8, rule=rule, clips_per_video=3, augs_per_clip=2)
    stock = make_clip_sampler("constant_clips_per_video", Fraction(2, 5), 3, 2)
    calls = drawn(ours, EncodedVideoSparse(videos[0][0]), 12)
    expected = [stock(0.0, Fraction(60, 25), {})[2:] for _ in range(12)]
    assert [call[:3] for call in calls] == expected
    clips = [call[3] for call in calls]
    assert clips[0::2] == clips[1::2]
    assert len({tuple(clip) for clip in clips[:6]}) == 3


def test_samples_of_several_clips_and_augmentations(videos):
    sampler = SegmentClipSampler(4, rule="random", clips_per_video=2, augs_per_clip=2)
    samples = list(dataset_of(videos[:2], sampler))
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [(s["label"], s["clip_index"], s["aug_index"]) for s in samples] == [(n, *p) for n in (0, 1) for p in places]
    for sample in samples:
        assert numbers_of(sample["video"]) == sample["frame_indices"].tolist()
    for first, second in zip(samples[::2], samples[1::2], strict=True):
        assert first["video"] is second["video"]
        assert torch.equal(first["frame_indices"], second["frame_indices"])


def test_a_stop_in_mid_video_and_a_reset(videos):
    sampler = SegmentClipSampler(4, clips_per_video=3, augs_per_clip=2)
    for calls in range(6):
        for _ in range(calls):
            sampler(None, 2.0, {})
        sampler.reset()
        sampler.reset()
        assert sampler(None, 2.0, {})[2:] == (0, 0, False)
        sampler.reset()


@pytest.mark.parametrize(
    "rule", sorted(name for name, r in RULES.items() if r.is_whole and not r.is_random and not r.by_motion)
)
@given(
    num_segments=st.integers(1, 6),
    frames_per_segment=st.integers(1, 3),
    clips=st.integers(1, 4),
    spare=st.integers(1, 99),
)
def test_clips_of_rules_without_chance_look_at_different_places(rule, num_segments, frames_per_segment, clips, spare):
    sampler = SegmentClipSampler(num_segments, frames_per_segment, rule, clips)
    num_frames = clips * num_segments * frames_per_segment + frames_per_segment + spare
    packets = Packets([5 + number % 7 for number in range(num_frames)], range(0, num_frames, 5))
    starts = [
        sampler.plan(0, clip).indices_of(num_frames, packets)[::frames_per_segment].tolist() for clip in range(clips)
    ]
    assert {len(clip) for clip in starts} == {num_segments * RULES[rule].num_views}
    one_view = [start for clip in starts for start in clip[:num_segments]]
    assert len(set(one_view)) == len(one_view)


def test_clips_of_the_centre_are_shifted_centres():
    sampler = SegmentClipSampler(3, clips_per_video=2)
    assert sampler.plan(0, 0).indices_of(60, Packets()).tolist() == [5, 25, 45]
    assert sampler.plan(0, 1).indices_of(60, Packets()).tolist() == [15, 35, 55]


def test_a_video_left_open_at_a_fork_is_opened_anew_in_the_worker(videos):
    dataset = dataset_of(videos[:1], SegmentClipSampler(4, clips_per_video=3))
    next(iter(dataset))  # in this process, whose decoder may have threads that a worker lacks
    loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context="fork", timeout=60)
    samples = list(loader)
    assert [sample["clip_index"] for sample in samples] == [1, 2, 0, 1, 2]  # as the host does: it begins where it was
    for sample in samples:
        assert numbers_of(sample["video"]) == sample["frame_indices"].tolist()


def test_code_after_the_hub_tutorials_works(videos):
    video = EncodedVideoSparse.from_path(videos[0][0], decode_audio=False, decoder="pyav")
    clip = video.get_clip(start_sec=0.4, end_sec=0.8)
    assert numbers_of(clip["video"]) == list(range(10, 20))
    assert (video.duration, video.rate) == (Fraction(60, 25), 25)
    assert EncodedVideoSparse.from_path(videos[0][0], dtype="uint8").get_clip(0, 1)["video"].dtype == torch.uint8


def test_a_video_in_memory(videos):
    content = io.BytesIO(Path(videos[1][0]).read_bytes())
    content.seek(100)
    video = EncodedVideoSparse(content, "held.mp4")
    assert (video.name, numbers_of(video.get_clip(0, 9)["video"])) == ("held.mp4", list(range(48)))
    video.close()
    with pytest.raises(VideoDecodeError, match=r"held.mp4: it is not a video"):
        EncodedVideoSparse(io.BytesIO(b"no video"), "held.mp4")


def test_clips_by_time_and_their_limits(videos):
    video = EncodedVideoSparse(videos[0][0])
    assert (video.name, video.duration) == ("0.mp4", Fraction(60, 25))
    assert numbers_of(video.get_clip(0.4, 0.8)["video"]) == list(range(10, 20))
    assert numbers_of(video.get_clip(0, video.duration)["video"]) == list(range(60))
    assert video.get_clip(5, 6) == {"video": None, "audio": None}
    assert EncodedVideoSparse(videos[0][0], decode_video=False).get_clip(0, 1)["video"] is None
    video.close()


def test_recipes_may_pass_a_clip_duration():
    assert SegmentClipSampler(8, clip_duration=1.6)._clip_duration == Fraction(1.6)


def test_mode_is_another_word_for_rule():
    assert SegmentClipSampler(mode="random").rule == "random"
    assert repr(SegmentClipSampler(3, 5, "random")) == "SegmentClipSampler(3, 5, rule='random')"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_segments": 0}, "num_segments=0 is not allowed"),
        ({"frames_per_segment": -1}, "frames_per_segment=-1 is not allowed"),
        ({"rule": "rnd"}, "rule='rnd' is unknown"),
        ({"short": "pad"}, "short='pad' is unknown"),
        ({"rule": "uniform", "mode": "random"}, "mean the same: give one of them"),
        ({"clips_per_video": 0}, "clips_per_video=0 is not allowed"),
        ({"augs_per_clip": 0}, "augs_per_clip=0 is not allowed"),
        ({"every_seconds": 1.0}, "every_seconds=1.0 with num_segments=8 is not allowed"),
        ({"num_segments": None, "every_seconds": 0}, "give seconds above 0"),
        ({"rule": "dense", "clips_per_video": 2}, "rule='dense' has views of its own, not 2 clips of 8 segments"),
        ({"rule": "tsm_dense", "num_segments": None}, "take one of caffe_eval25, caffe_test"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_once(arguments, words):
    with pytest.raises(ValueError, match=words):
        SegmentClipSampler(**arguments)


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ValueError, match="dtype='float16' is not allowed: choose one of float32, uint8"):
        SparseVideoPathHandler("float16")
