"""SparseVideoDataset: samples by number, whoever asks and however often, with files that cannot be read."""

import copy
import logging
import pickle
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from index_video import read_numbers, write_index_video
from torch.utils.data import DataLoader, DistributedSampler

from pv_sparse import SegmentClipSampler, SparseVideoDataset, VideoDecodeError, segment_indices

LENGTHS = [60, 48, 33, 7, 40, 52]


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> list:
    folder = tmp_path_factory.mktemp("map_style")
    return [
        (str(write_index_video(folder / f"{number}.mp4", length)), {"label": number % 2})
        for number, length in enumerate(LENGTHS)
    ]


@pytest.fixture
def with_broken_files(videos, tmp_path) -> list:
    """Numbers 1 and 4 cannot be read."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    return [(str(broken) if number == 1 else path, info) for number, (path, info) in enumerate(videos[:4])] + [
        (str(tmp_path / "missing.mp4"), {"label": 0}),
        videos[5],
    ]


def shown(sample: dict) -> list[int]:
    return read_numbers(sample["video"].transpose(0, 1))


class NoisyTransform:
    """Draws from every generator that transforms draw from."""

    def __call__(self, sample: dict) -> dict:
        draws = torch.tensor([random.random(), float(np.random.rand()), float(torch.rand(()))])
        return {"draws": draws, "frame_indices": sample["frame_indices"], "video_index": sample["video_index"]}


def all_draws(dataset, **options) -> torch.Tensor:
    """By number of the video: draws and frames."""
    rows = {}
    for batch in DataLoader(dataset, batch_size=2, **options):
        for index, draws, frames in zip(batch["video_index"], batch["draws"], batch["frame_indices"], strict=True):
            rows[int(index)] = torch.cat([draws, frames.double()])
    return torch.stack([rows[index] for index in sorted(rows)])


def test_a_sample_is_that_of_the_host(videos):
    sample = SparseVideoDataset(videos, SegmentClipSampler(4))[2]
    assert shown(sample) == segment_indices(33, 4).flatten().tolist()
    assert sample["video"].shape == (3, 4, 96, 160)
    assert sample["video"].is_contiguous()
    assert {name: sample[name] for name in ("video_name", "video_index", "clip_index", "aug_index", "label")} == {
        "video_name": "2.mp4",
        "video_index": 2,
        "clip_index": 0,
        "aug_index": 0,
        "label": 0,
    }
    assert sample["requested_index"] == 2


def test_demand_7_a_sample_tells_its_frames_and_their_times(videos):
    sample = SparseVideoDataset(videos, SegmentClipSampler(4))[0]
    assert torch.equal(sample["frame_indices"], segment_indices(60, 4).flatten())
    torch.testing.assert_close(sample["frame_times_seconds"], segment_indices(60, 4).flatten().double() / 25)
    assert sample["video_num_frames"] == 60


def test_demand_12_the_data_set_has_a_length_and_even_batches(videos):
    dataset = SparseVideoDataset(videos, SegmentClipSampler(4))
    assert len(dataset) == dataset.num_videos == 6
    sizes = [len(batch["label"]) for batch in DataLoader(dataset, batch_size=2, num_workers=2, shuffle=True)]
    assert sizes == [2, 2, 2]
    assert shown(dataset[-1]) == shown(dataset[5])
    with pytest.raises(IndexError, match="sample 6 is outside the data set's 6 samples"):
        dataset[6]


def test_demand_3_short_videos_follow_the_policy_chosen(videos):
    assert shown(SparseVideoDataset(videos, SegmentClipSampler(10, short="loop"))[3])[-1] == 6
    strict = SparseVideoDataset(videos, SegmentClipSampler(10, short="error"))
    with pytest.raises(ValueError, match="too short for 10 segments"):
        strict[3]


def test_several_clips_share_out_the_segments_and_augmentations_share_frames(videos):
    sampler = SegmentClipSampler(4, clips_per_video=3, augs_per_clip=2)
    dataset = SparseVideoDataset(videos, sampler, NoisyTransform())
    assert len(dataset) == 36
    frames = [dataset[number]["frame_indices"].tolist() for number in range(6)]
    assert frames[0] == frames[1]
    assert sorted(frames[0] + frames[2] + frames[4]) == segment_indices(60, 12).flatten().tolist()
    assert not torch.equal(dataset[0]["draws"], dataset[1]["draws"])
    random_clips = SparseVideoDataset(videos, SegmentClipSampler(4, rule="random", clips_per_video=2, augs_per_clip=2))
    drawn = [random_clips[number]["frame_indices"].tolist() for number in range(4)]
    assert drawn[0] == drawn[1] != drawn[2] == drawn[3]


@pytest.mark.slow
def test_draws_depend_on_the_number_and_the_epoch_alone(videos):
    dataset = SparseVideoDataset(videos, SegmentClipSampler(4, rule="random"), NoisyTransform(), seed=3)
    first = all_draws(dataset)
    assert torch.equal(first, all_draws(dataset, shuffle=True))
    for method, workers in (("fork", 1), ("fork", 2), ("spawn", 2)):
        assert torch.equal(first, all_draws(dataset, num_workers=workers, multiprocessing_context=method))
    dataset.set_epoch(1)
    assert not torch.equal(first, all_draws(dataset))
    other = SparseVideoDataset(videos, SegmentClipSampler(4, rule="random"), NoisyTransform(), seed=4)
    assert not torch.equal(first, all_draws(other))


def test_draws_leave_the_programs_own_random_state_alone(videos):
    dataset = SparseVideoDataset(videos, SegmentClipSampler(4, rule="random"), NoisyTransform())
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    dataset[0]
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_that_live_on_see_the_next_epoch(videos, method):
    dataset = SparseVideoDataset(videos[:2], SegmentClipSampler(4, rule="random"), NoisyTransform())
    loader = DataLoader(dataset, num_workers=1, persistent_workers=True, multiprocessing_context=method)
    epochs = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        epochs.append(torch.cat([batch["draws"] for batch in loader]))
    assert torch.equal(epochs[0], epochs[2])
    assert not torch.equal(epochs[0], epochs[1])


def test_demand_14_it_can_be_copied_and_sent(videos):
    dataset = SparseVideoDataset(videos, SegmentClipSampler(4, rule="random"))
    for twin in (pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)):
        assert torch.equal(twin[1]["video"], dataset[1]["video"])


def test_demand_13_ranks_of_the_standard_sampler_see_different_videos(videos):
    dataset = SparseVideoDataset(videos, SegmentClipSampler(2))
    seen = []
    for rank in range(2):
        order = DistributedSampler(dataset, num_replicas=2, rank=rank)
        seen.append([int(index) for batch in DataLoader(dataset, sampler=order) for index in batch["video_index"]])
    assert sorted(seen[0] + seen[1]) == list(range(6))


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_stay_equal_with_corrupt_files_and_none_is_left_out_in_silence(with_broken_files, workers, caplog):
    dataset = SparseVideoDataset(with_broken_files, SegmentClipSampler(2))
    rows = []
    for rank in range(2):
        order = DistributedSampler(dataset, num_replicas=2, rank=rank, shuffle=False)
        loader = DataLoader(
            dataset, sampler=order, num_workers=workers, multiprocessing_context="fork" if workers else None
        )
        rows.append([(int(b["requested_index"]), int(b["video_index"]), int(b["label"])) for b in loader])
    assert [len(rank) for rank in rows] == [3, 3]
    by_request = {requested: (video, label) for requested, video, label in rows[0] + rows[1]}
    assert sorted(by_request) == list(range(6))
    assert all(by_request[good][0] == good for good in (0, 2, 3, 5))
    assert by_request[1][0] in (3, 5), "of its class"
    assert by_request[4][0] in (0, 2)
    assert set(dataset.failed_files()) == {with_broken_files[1][0], with_broken_files[4][0]}
    with caplog.at_level(logging.WARNING):
        dataset.set_epoch(1)
    assert "epoch 0: 2 of 6 files failed" in caplog.text
    assert "missing.mp4: no such file" in caplog.text
    assert dataset.report_failures() is None


def test_demand_10_errors_name_the_file_and_the_cause(with_broken_files):
    dataset = SparseVideoDataset(with_broken_files, SegmentClipSampler(2), on_error="raise")
    with pytest.raises(VideoDecodeError, match=r"broken\.mp4: it is not a video"):
        dataset[1]
    with pytest.raises(FileNotFoundError, match=r"missing\.mp4: no such file"):
        dataset[4]
    hopeless = SparseVideoDataset([with_broken_files[1]], SegmentClipSampler(2))
    with pytest.raises(VideoDecodeError, match="neither it nor its 10 substitutes"):
        hopeless[0]


def test_a_transform_may_reject_a_video(videos):
    dataset = SparseVideoDataset(
        videos, SegmentClipSampler(2), lambda sample: sample if sample["video_num_frames"] > 10 else None
    )
    assert dataset[3]["video_index"] != 3
    assert "the transform rejected it" in dataset.failed_files()[videos[3][0]]


def test_files_that_the_index_knows_to_be_unreadable_are_not_opened(videos, monkeypatch):
    index = {videos[0][0]: SimpleNamespace(error="cut off"), videos[1][0]: SimpleNamespace(error=None)}
    opened = []
    dataset = SparseVideoDataset(videos, SegmentClipSampler(2), index=index)
    monkeypatch.setattr("pv_sparse.data.dataset.open_frames", lambda path, modality, threads: opened.append(path))
    with pytest.raises(AttributeError):
        dataset[1]
    assert opened == [videos[1][0]]
    monkeypatch.undo()
    assert dataset[0]["video_index"] in (2, 4)
    assert "the index says: cut off" in dataset.failed_files()[videos[0][0]]


def test_demand_9_small_frames_of_bytes(videos):
    sample = SparseVideoDataset(videos, SegmentClipSampler(4), dtype="uint8", size=48)[0]
    assert sample["video"].dtype == torch.uint8
    assert sample["video"].shape == (3, 4, 48, 80)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"on_error": "skip"}, "choose one of substitute, raise"),
        ({"dtype": "float16"}, "choose one of float32, uint8"),
        ({"labeled_video_paths": []}, "no videos were given"),
    ],
)
def test_what_is_not_allowed_is_told(videos, arguments, words):
    with pytest.raises(ValueError, match=words):
        SparseVideoDataset(**{"labeled_video_paths": videos, "clip_sampler": SegmentClipSampler(2), **arguments})


def test_recipes_of_the_host_set_the_epoch_through_the_sampler(tmp_path):
    """They pass a class of sampler, and ask the data set for the sampler it made of it."""
    path = str(write_index_video(tmp_path / "a.mp4", 60))
    sampler = SegmentClipSampler(4, rule="random")
    dataset = SparseVideoDataset([(path, {"label": 0})], sampler, video_sampler=DistributedSampler)
    first = dataset[0]["frame_indices"].tolist()
    dataset.video_sampler.set_epoch(3)
    assert dataset[0]["frame_indices"].tolist() != first
