"""Something-Something v2 and Charades as pictures: the host's lists, without OpenCV."""

import json

import pytest
import torch
from index_video import bars, read_numbers
from PIL import Image
from pytorchvideo.data.clip_sampling import make_clip_sampler
from torch.utils.data import DataLoader, SequentialSampler

from pv_sparse import PvSparseError, SegmentClipSampler, VideoDecodeError, segment_indices, sparse_decoding
from pv_sparse.data import Charades, SSv2

HEADER = "original_vido_id video_id frame_id path labels\n"
LENGTHS = {"a": 48, "b": 20}
# What the host's own class takes of 48 and of 20 frames for frames_per_clip=8, computed by hand from its formula.
HOST_FRAMES = {"a": [3, 9, 15, 21, 26, 32, 38, 44], "b": [1, 3, 6, 8, 11, 13, 15, 18]}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name, length in LENGTHS.items():
        (folder / name).mkdir()
        for number in range(length):
            Image.fromarray(bars(number)).save(folder / name / f"{number:05d}.png")
    return folder


def frame_list(folder, labels=lambda name, number: '""') -> str:
    lines = [
        f"{name} {place} {number} {name}/{number:05d}.png {labels(name, number)}\n"
        for place, (name, length) in enumerate(LENGTHS.items())
        for number in range(length)
    ]
    (folder / "frames.csv").write_text(HEADER + "".join(lines))
    return str(folder / "frames.csv")


def ssv2(folder, clip_sampler, **arguments) -> SSv2:
    templates = {"a": "Putting [something] down", "b": "Holding [something]", "not listed": "Holding [something]"}
    (folder / "labels.json").write_text(json.dumps({"Holding something": "3", "Putting something down": "7"}))
    (folder / "train.json").write_text(json.dumps([{"id": i, "template": t} for i, t in templates.items()]))
    return SSv2(
        str(folder / "labels.json"),
        str(folder / "train.json"),
        frame_list(folder),
        clip_sampler,
        **{"video_sampler": SequentialSampler, "video_path_prefix": str(folder), **arguments},
    )


def charades(folder, clip_sampler, **arguments) -> Charades:
    """Frame n of a video has the label n // 10, and every even frame also 99."""

    def labels(name, number):
        return f'"{number // 10},99"' if number % 2 == 0 else f'"{number // 10}"'

    return Charades(
        frame_list(folder, labels), clip_sampler, SequentialSampler, video_path_prefix=str(folder), **arguments
    )


def numbers_of(sample) -> list[int]:
    return read_numbers(sample["video"].transpose(0, 1))


def test_ssv2_gives_the_frames_of_our_sampler_in_every_epoch(pictures):
    dataset = ssv2(pictures, SegmentClipSampler(8))
    assert dataset.num_videos == 2
    for _ in range(2):
        samples = list(dataset)
        assert [(sample["video_name"], sample["label"]) for sample in samples] == [("a", 7), ("b", 3)]
        for sample in samples:
            expected = segment_indices(LENGTHS[sample["video_name"]], 8).flatten()
            assert numbers_of(sample) == sample["frame_indices"].tolist() == expected.tolist()
            torch.testing.assert_close(sample["frame_times_seconds"], expected.double() / 30)
            assert sample["video_num_frames"] == LENGTHS[sample["video_name"]]
            assert sample["video"].dtype == torch.float32


def test_ssv2_with_a_stock_sampler_gives_the_hosts_frames(pictures):
    sampler = make_clip_sampler("constant_clips_per_video", 0.2, 1)
    for sample in ssv2(pictures, sampler, frames_per_clip=8):
        assert numbers_of(sample) == HOST_FRAMES[sample["video_name"]]
    assert [sample["video"].shape[1] for sample in ssv2(pictures, sampler)] == [48, 20]


def test_ssv2_draws_within_the_hosts_segments(pictures):
    sampler = make_clip_sampler("constant_clips_per_video", 1, 20)
    draws = [numbers_of(sample) for sample in ssv2(pictures, sampler, frames_per_clip=4, rand_sample_frames=True)][:20]
    bounds = [0, 12, 24, 35, 47]
    for draw in draws:
        assert all(low <= number <= high for number, low, high in zip(draw, bounds, bounds[1:], strict=False))
    assert len({tuple(draw) for draw in draws}) > 10


def test_charades_labels_are_those_of_the_frames_from_first_to_last(pictures):
    samples = list(charades(pictures, make_clip_sampler("constant_clips_per_video", 0.5, 2), frames_per_clip=4))
    assert [sample["video_name"] for sample in samples] == ["a", "a", "b", "b"]
    first = samples[0]
    assert numbers_of(first) == [0, 4, 9, 14]
    assert first["label"] == [[number // 10, 99] if number % 2 == 0 else [number // 10] for number in range(15)]
    assert first["video_label"] == [0, 1, 2, 3, 4, 99]
    assert samples[2]["video_label"] == [0, 1, 99]


def test_charades_with_our_sampler(pictures):
    sample = next(iter(charades(pictures, SegmentClipSampler(2))))
    assert numbers_of(sample) == [12, 36]
    assert len(sample["label"]) == 25
    assert Charades.NUM_CLASSES == 157


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_split_the_videos(pictures, method):
    dataset = sparse_decoding(
        ssv2(pictures, SegmentClipSampler(8), video_sampler=torch.utils.data.RandomSampler), "uint8"
    )
    batches = list(DataLoader(dataset, batch_size=1, num_workers=2, multiprocessing_context=method, timeout=120))
    assert sorted(batch["label"].item() for batch in batches) == [3, 7]
    assert {batch["video"].dtype for batch in batches} == {torch.uint8}


def test_damaged_pictures_are_told_by_name(pictures, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(LENGTHS[name]):
            size = (160, 96) if number < 30 else (80, 48)
            Image.new("RGB", size).save(tmp_path / name / f"{number:05d}.png")
    with pytest.raises(VideoDecodeError, match=r"a/00031.png: frame 31: it has 80x48, and others 160x96"):
        next(iter(ssv2(tmp_path, SegmentClipSampler(4, rule="uniform", short="error"))))
    (tmp_path / "a" / "00000.png").write_bytes(b"no picture")
    with pytest.raises(VideoDecodeError, match=r"a/00000.png: frame 0: it cannot be read as a picture"):
        next(iter(ssv2(tmp_path, SegmentClipSampler(4, rule="uniform"))))


def test_lists_that_do_not_fit_are_told(pictures, tmp_path):
    (tmp_path / "frames.csv").write_text("a,b\n1,2\n")
    with pytest.raises(PvSparseError, match=r"the columns are original_vido_id video_id frame_id path labels"):
        Charades(str(tmp_path / "frames.csv"), SegmentClipSampler(8))
    (tmp_path / "frames.csv").write_text(HEADER)
    with pytest.raises(PvSparseError, match=r"frames.csv: no video of it has frames"):
        Charades(str(tmp_path / "frames.csv"), SegmentClipSampler(8))
    (tmp_path / "labels.json").write_text("{}")
    (tmp_path / "train.json").write_text(json.dumps([{"id": "a", "template": "Holding [something]"}]))
    with pytest.raises(PvSparseError, match=r"no label in .*labels.json for 'Holding something'"):
        SSv2(
            str(tmp_path / "labels.json"),
            str(tmp_path / "train.json"),
            frame_list(tmp_path),
            SegmentClipSampler(8),
        )
