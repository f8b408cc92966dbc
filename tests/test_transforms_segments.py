"""Segments of what a stock decoder gives, and whole transforms of samples, in the host's own datasets."""

import itertools
import pickle
from fractions import Fraction

import pytest
import torch
from index_video import read_numbers, write_index_video
from pytorchvideo.data import LabeledVideoDataset
from pytorchvideo.data.clip_sampling import make_clip_sampler
from torch.utils.data import DataLoader, SequentialSampler

from pv_sparse import (
    ConcatSegments,
    EvaluationTransform,
    NormalizeClip,
    SegmentClipSampler,
    SegmentSubsample,
    SparseVideoPathHandler,
    TenCrop,
    create_sparse_video_transform,
    create_tsn,
    fold_views,
    segment_indices,
)
from pv_sparse.data.rules import RULES
from pv_sparse.transforms import flip_clip

FRAME = Fraction(1, 25)
SMALL = {"size": 32, "resize": 40}


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> list:
    folder = tmp_path_factory.mktemp("segments")
    return [
        (str(write_index_video(folder / "long.mp4", 60)), {"label": 0}),
        (str(write_index_video(folder / "short.mp4", 48, audio_seconds=2.0)), {"label": 1}),
    ]


def stock_dataset(videos, sampler, transform=None, **arguments) -> LabeledVideoDataset:
    """The host's dataset, with the host's decoder."""
    labeled = [(path, dict(info)) for path, info in videos]
    arguments = {"decode_audio": False, "video_sampler": SequentialSampler, **arguments}
    return LabeledVideoDataset(labeled, sampler, transform=transform, **arguments)


def multi_clips(seconds: Fraction = FRAME, num_clips: int = 4):
    return make_clip_sampler("random_multi", seconds, num_clips)


def numbers_of(clip: torch.Tensor) -> list[int]:
    return read_numbers(clip.transpose(0, 1))


def counting(num_frames: int, channels: int = 3) -> torch.Tensor:
    """A clip whose frames hold their number."""
    return torch.arange(num_frames).reshape(1, -1, 1, 1).expand(channels, -1, 4, 4).float()


def noise(channels: int = 3, frames: int = 8, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    return torch.randint(256, (channels, frames, 64, 96), dtype=torch.uint8).to(dtype)


# Several clips


@pytest.mark.parametrize("decode_audio", [False, True])
def test_multi_clip_samples_of_the_host_collate(videos, decode_audio):
    silent = videos[:1] * 2
    dataset = stock_dataset(silent, multi_clips(), ConcatSegments(frames_per_segment=1), decode_audio=decode_audio)
    batch = next(iter(DataLoader(dataset, batch_size=2)))
    assert batch["video"].shape == (2, 3, 4, 96, 160)
    assert batch["clip_index"].tolist() == batch["aug_index"].tolist() == [0, 0]
    assert "audio" not in batch


def test_without_it_they_do_not(videos):
    with pytest.raises(TypeError, match="NoneType"):
        next(iter(DataLoader(stock_dataset(videos, multi_clips()), batch_size=2)))


def test_clips_of_several_frames_come_one_after_another(videos):
    raw = next(iter(stock_dataset(videos, multi_clips(5 * FRAME, 3))))
    before = [clip.clone() for clip in raw["video"]]
    joined = ConcatSegments(frames_per_segment=5)(raw)
    firsts = [numbers_of(clip)[0] for clip in raw["video"]]
    assert numbers_of(joined["video"]) == [first + frame for first in firsts for frame in range(5)]
    assert isinstance(raw["clip_index"], list)
    assert all(torch.equal(a, b) for a, b in zip(raw["video"], before, strict=True))


def test_all_frames_are_kept_or_so_many_of_each():
    sample = {"video": [counting(2), counting(1), counting(3)], "label": 7}
    assert ConcatSegments()(sample)["video"][0, :, 0, 0].tolist() == [0, 1, 0, 0, 1, 2]
    cut = ConcatSegments(frames_per_segment=2)(sample)
    assert cut["video"][0, :, 0, 0].tolist() == [0, 1, 0, 0, 0, 1]
    assert cut["label"] == 7


def test_sound_goes_where_a_clip_has_none():
    clips, sound = [counting(1)] * 2, torch.zeros(9)
    assert "audio" not in ConcatSegments()({"video": clips, "audio": [sound, None]})
    assert ConcatSegments()({"video": clips, "audio": [sound, sound]})["audio"] == [sound, sound]


def test_a_sample_of_one_clip_passes(videos):
    sample = next(iter(stock_dataset(videos, make_clip_sampler("random", 5 * FRAME))))
    joined = ConcatSegments()(sample)
    assert joined is not sample
    assert joined == sample


# A dense clip


def test_a_stock_decoder_gives_the_frames_of_the_rule(videos):
    """What `SegmentClipSampler` has decoded by ours, of the dense clip that the host's decoder gives in its place."""
    transform = create_sparse_video_transform("val", num_segments=8, resize=96, size=96, normalization="mmaction2")
    dense = stock_dataset(videos, SegmentClipSampler(8), lambda s: s | {"video": SegmentSubsample(8)(s["video"])})
    sparse = stock_dataset(videos, SegmentClipSampler(8))
    sparse.video_path_handler = SparseVideoPathHandler()
    for stock, ours, length in zip(dense, sparse, (60, 48), strict=True):
        assert numbers_of(stock["video"]) == numbers_of(ours["video"]) == segment_indices(length, 8).flatten().tolist()
    for sample in stock_dataset(videos, SegmentClipSampler(8), transform):
        assert sample["video"].shape == (3, 8, 96, 96)


@pytest.mark.parametrize("rule", sorted(name for name, rule in RULES.items() if not rule.by_motion))
@pytest.mark.parametrize(("num_segments", "frames_per_segment"), [(8, 1), (3, 5)])
def test_every_rule_takes_what_segment_indices_takes(rule, num_segments, frames_per_segment):
    torch.manual_seed(4)
    expected = segment_indices(50, num_segments, frames_per_segment, rule).flatten()
    torch.manual_seed(4)
    found = SegmentSubsample(num_segments, frames_per_segment, rule)(counting(50))
    assert found[0, :, 0, 0].tolist() == expected.tolist()


def test_short_clips_repeat_or_are_refused():
    assert SegmentSubsample(1, 4, short="loop")(counting(2))[0, :, 0, 0].tolist() == [0, 1, 0, 1]
    with pytest.raises(ValueError, match="a video of 2 frames is too short"):
        SegmentSubsample(1, 4, short="error")(counting(2))


# Whole transforms


@pytest.mark.parametrize(("mode", "frames"), [("train", 8), ("val", 8), ("test", 80)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("normalization", "channels"), [("imagenet", 3), ("bn_inception_flow", 2)])
def test_samples_and_clips_of_either_type(mode, frames, dtype, normalization, channels):
    clip = noise(channels, dtype=dtype)
    before = clip.clone()
    sample = {"video": clip, "label": 3, "clip_index": 0}
    found = create_sparse_video_transform(mode, normalization=normalization, **SMALL)(sample)
    assert found["video"].shape == (channels, frames, 32, 32)
    assert found["video"].dtype == torch.float32
    assert (found["label"], found["clip_index"]) == (3, 0)
    assert sample["video"] is clip
    assert torch.equal(clip, before)
    plain = create_sparse_video_transform(mode, video_key=None, normalization=normalization, **SMALL)
    assert plain(clip).shape == found["video"].shape


def test_validation_is_the_evaluation_transform():
    clip = noise()
    expected = EvaluationTransform(40, 32)(clip)
    assert torch.equal(create_sparse_video_transform("val", None, **SMALL)(clip), expected)
    assert torch.equal(create_sparse_video_transform("test", None, num_crops=1, **SMALL)(clip), expected)


def test_testing_is_ten_crops_normalised():
    clip = noise()
    expected = NormalizeClip("caffe")(TenCrop(32, 40)(clip))
    assert torch.equal(create_sparse_video_transform("test", None, normalization="caffe", **SMALL)(clip), expected)
    three = create_sparse_video_transform("test", None, num_crops=3, size=40, resize=40)(clip)
    assert three.shape == (3, 24, 40, 40)


def test_training_crops_flips_and_normalises():
    clip = noise(2, 1, torch.float32)
    arguments = {"normalization": "bn_inception_flow", "size": 64, "scales": (1,), "num_positions": 5}
    flipped = create_sparse_video_transform("train", None, flip_probability=1, **arguments)
    plain = create_sparse_video_transform("train", None, flip_probability=0, **arguments)
    torch.manual_seed(2)
    expected = plain(clip) + 128
    torch.manual_seed(2)
    assert torch.equal(flipped(clip) + 128, flip_clip(expected))
    assert any(torch.equal(expected, clip[..., x : x + 64]) for x in (0, 16, 32))


def test_training_draws_its_frames_and_testing_does_not():
    train, val = (
        create_sparse_video_transform(mode, None, 4, size=4, resize=4, scales=(1,), normalization="mmaction2")
        for mode in ("train", "val")
    )
    clip = counting(200)
    assert len({tuple(train(clip)[0, :, 0, 0].tolist()) for _ in range(5)}) == 5
    assert torch.equal(val(clip), NormalizeClip("mmaction2")(SegmentSubsample(4)(clip)))
    middle = create_sparse_video_transform("train", None, 4, rule="center", size=4, normalization="mmaction2")
    assert torch.equal(middle(clip), val(clip))


def test_rgb_differences_are_of_normalised_frames():
    transform = create_sparse_video_transform(
        "val", None, 3, frames_per_segment=6, temporal_difference=True, normalization="bn_inception", size=4, resize=4
    )
    found = transform(counting(60))
    assert found.shape == (3, 15, 4, 4)
    assert found.unique().tolist() == [1]


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_dataset_of_the_host_feeds_a_model(videos, method):
    """Sparse decoding, whole samples transformed in workers, TSN over all views; the average of views is the same."""
    transform = create_sparse_video_transform("test", num_crops=3, **SMALL)
    dataset = stock_dataset(videos, SegmentClipSampler(4), transform)
    dataset.video_path_handler = SparseVideoPathHandler("uint8")
    loader = DataLoader(dataset, batch_size=2, num_workers=1, multiprocessing_context=method)
    model = create_tsn(num_classes=5, backbone="tiny").eval()
    for batch in loader:
        assert batch["video"].shape == (2, 3, 12, 32, 32)
        with torch.inference_mode():
            by_view = model(fold_views(batch["video"], 3)).unflatten(0, (-1, 3)).mean(dim=1)
            torch.testing.assert_close(model(batch["video"]), by_view, rtol=1e-4, atol=1e-5)


def test_several_clips_are_joined_first(videos):
    transform = create_sparse_video_transform("train", frames_per_segment=1, **SMALL)
    dataset = stock_dataset(videos, multi_clips(), transform)
    assert next(iter(DataLoader(dataset, batch_size=2)))["video"].shape == (2, 3, 4, 32, 32)


def test_several_augmentations_of_one_clip(videos):
    """The host hands the same tensor to the transform each time."""
    transform = create_sparse_video_transform("val", num_segments=4, **SMALL)
    sampler = make_clip_sampler("constant_clips_per_video", 1, 1, 3)
    samples = list(itertools.islice(stock_dataset(videos, sampler, transform), 3))
    assert [sample["aug_index"] for sample in samples] == [0, 1, 2]
    assert all(torch.equal(sample["video"], samples[0]["video"]) for sample in samples)


@pytest.mark.parametrize("mode", ["train", "val", "test"])
@pytest.mark.parametrize("video_key", ["clip", None])
def test_it_survives_pickling(mode, video_key):
    transform = create_sparse_video_transform(mode, video_key, num_segments=4, **SMALL)
    given = noise() if video_key is None else {video_key: noise()}

    def pixels(step) -> torch.Tensor:
        torch.manual_seed(1)
        found = step(given)
        return found if video_key is None else found[video_key]

    assert torch.equal(pixels(pickle.loads(pickle.dumps(transform))), pixels(transform))


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["train", "val", "test"])
def test_a_gpu_gives_the_same_clips(mode):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    clip, transform = noise(), create_sparse_video_transform(mode, None, num_segments=4, **SMALL)
    torch.manual_seed(1)
    expected = transform(clip)
    torch.manual_seed(1)
    torch.testing.assert_close(transform.cuda()(clip.cuda()).cpu(), expected, rtol=0, atol=1.01 / 255 / 0.22)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: create_sparse_video_transform("eval"), "mode='eval' is unknown: choose one of train, val, test"),
        (lambda: create_sparse_video_transform("test", num_crops=5), "num_crops=5 is not allowed: choose 1, 3 or 10"),
        (
            lambda: create_sparse_video_transform("val", normalization="inception"),
            "normalization='inception' is unknown",
        ),
        (lambda: create_sparse_video_transform("val", temporal_difference=True), "a difference needs 2 frames"),
        (lambda: create_sparse_video_transform("val", size=512), "crop=512 is larger than resize=256"),
        (
            lambda: create_sparse_video_transform("val")({"frames": noise()}),
            "has no 'video': it has 'frames'; choose an",
        ),
        (lambda: create_sparse_video_transform("val")(noise()), "a Tensor was given where a sample .* video_key=None"),
        (lambda: ConcatSegments()({"video": []}), "the sample's 'video' is a list without clips"),
        (lambda: ConcatSegments()({"video": [noise()[0]]}), "ConcatSegments takes"),
        (lambda: ConcatSegments(frames_per_segment=0), "frames_per_segment=0 is not allowed"),
        (lambda: SegmentSubsample(0), "num_segments=0 is not allowed"),
        (lambda: SegmentSubsample(4, rule="middle"), "rule='middle' is unknown"),
        (lambda: SegmentSubsample(4, rule="motion"), "rule='motion' goes by the file's packets, which a clip lacks"),
        (lambda: SegmentSubsample(4, short="pad"), "short='pad' is unknown"),
        (lambda: SegmentSubsample(4)(noise()[0]), "SegmentSubsample takes"),
    ],
)
def test_what_makes_no_sense_is_told(make, words):
    with pytest.raises(ValueError, match=words):
        make()
