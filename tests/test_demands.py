"""What users of the host asked for (numbers of the design's list), each as they would write it now."""

import contextlib

import pytest
import torch
from index_video import read_numbers, write_index_video
from pytorchvideo.data import LabeledVideoDataset, make_clip_sampler
from pytorchvideo.transforms import Div255, create_video_transform  # demand 16: this import
from torch.utils.data import DataLoader, SequentialSampler

from pv_sparse import EncodedVideoSparse, SegmentClipSampler, SparseVideo, compat, segment_indices
from pv_sparse.data import Kinetics, labeled_video_dataset
from pv_sparse.data.decoder import Decoder

SECONDS = {0: 2, 1: 5, 2: 11}


@pytest.fixture(scope="module")
def video_list(tmp_path_factory) -> str:
    """A list of videos of 2, 5 and 11 seconds, 25 frames each."""
    folder = tmp_path_factory.mktemp("demands")
    lines = []
    for label, seconds in SECONDS.items():
        path = write_index_video(folder / f"{seconds}.mp4", num_frames=25 * seconds)
        lines.append(f"{path} {label}\n")
    (folder / "list.csv").write_text("".join(lines))
    return str(folder / "list.csv")


def samples_of(video_list, *args, **arguments) -> list[dict]:
    return list(labeled_video_dataset(video_list, SegmentClipSampler(*args, **arguments), SequentialSampler))


def numbers_of(sample) -> list[int]:
    return read_numbers(sample["video"].transpose(0, 1))


def test_demand_1_one_frame_per_second(video_list):
    samples = samples_of(video_list, num_segments=None, every_seconds=1.0)
    assert [numbers_of(sample) for sample in samples] == [
        [int(25 * (second + 0.5)) for second in range(seconds)] for seconds in SECONDS.values()
    ]
    drawn = samples_of(video_list, num_segments=None, every_seconds=1.0, rule="random")
    for sample, seconds in zip(drawn, SECONDS.values(), strict=True):
        assert [number // 25 for number in numbers_of(sample)] == list(range(seconds))


def test_demand_1_steps_larger_than_the_video_give_one_frame(video_list):
    samples = samples_of(video_list, num_segments=None, every_seconds=60)
    assert [numbers_of(sample) for sample in samples] == [[25], [62], [137]]


def test_demand_1_numbers_of_frames_that_differ_go_into_lists(video_list):
    dataset = labeled_video_dataset(video_list, SegmentClipSampler(None, every_seconds=1.0), SequentialSampler)
    (batch,) = DataLoader(dataset, batch_size=3, collate_fn=list)
    assert [sample["video"].shape[1] for sample in batch] == [2, 5, 11]


def test_demand_2_evidence_from_the_whole_of_videos_of_any_length(video_list):
    dataset = labeled_video_dataset(video_list, SegmentClipSampler(5), SequentialSampler)
    (batch,) = DataLoader(dataset, batch_size=3)
    assert batch["video"].shape[:3] == (3, 3, 5)
    parts = batch["frame_indices"].double() / batch["video_num_frames"][:, None]
    torch.testing.assert_close(parts, torch.tensor([[0.1, 0.3, 0.5, 0.7, 0.9]] * 3).double(), atol=0.02, rtol=0)


def test_demand_4_the_whole_video_without_thinking_of_clips(video_list):
    samples = samples_of(video_list, num_segments=None)
    assert [numbers_of(sample) for sample in samples] == [list(range(25 * seconds)) for seconds in SECONDS.values()]
    video = EncodedVideoSparse.from_path(video_list.replace("list.csv", "2.mp4"))
    assert video.get_clip(0, video.duration)["video"].shape[1] == 50


def test_demand_5_as_many_frames_as_were_asked_for(video_list):
    for _ in range(20):
        for sample in samples_of(video_list, 1, frames_per_segment=25, rule="random"):
            numbers = sample["frame_indices"].tolist()
            assert numbers == list(range(numbers[0], numbers[0] + 25))
            assert sample["video"].shape[1] == 25


def test_demand_6_several_clips_in_one_item(video_list):
    sample = samples_of(video_list, 4, rule="twice")[0]
    views = sample["video"].unflatten(1, (2, 4))
    assert [read_numbers(view.transpose(0, 1)) for view in views.unbind(1)] == [[6, 18, 31, 43], [0, 12, 25, 37]]


def test_demand_6_several_clips_one_after_another_in_batches(video_list):
    sampler = SegmentClipSampler(4, clips_per_video=3)
    batches = list(DataLoader(labeled_video_dataset(video_list, sampler, SequentialSampler), batch_size=3))
    assert [batch["clip_index"].tolist() for batch in batches] == [[0, 1, 2]] * 3
    assert [batch["video_index"].tolist() for batch in batches] == [[0] * 3, [1] * 3, [2] * 3]
    assert all(len(set(batch["frame_indices"].flatten().tolist())) == 12 for batch in batches)


def test_demand_7_frames_and_times_are_in_the_sample(video_list):
    for sample in samples_of(video_list, 8, rule="random", clips_per_video=2):
        assert numbers_of(sample) == sample["frame_indices"].tolist()
        torch.testing.assert_close(sample["frame_times_seconds"], sample["frame_indices"].double() / 25)
        assert sample["video_num_frames"] == 25 * SECONDS[sample["label"]]


def test_demand_16_the_hosts_transforms_can_be_imported_and_used(video_list):
    sample = samples_of(video_list, 8)[0]
    assert compat.is_repairing()
    assert Div255()(sample["video"]).max() <= 1
    transform = create_video_transform("val", num_samples=4, convert_to_float=False, min_size=96, crop_size=64)
    assert transform(sample["video"] / 255).shape == (3, 4, 64, 64)


def test_demand_17_the_torchvision_decoder_is_gone_and_ours_works_in_its_place(video_list):
    arguments = {"video_sampler": SequentialSampler, "decode_audio": False, "decoder": "torchvision"}
    if not hasattr(torch.ops.video_reader, "read_video_from_memory"):
        with open(video_list) as file:
            videos = [(line.split()[0], {}) for line in file] * 4
        with pytest.raises(RuntimeError, match="Failed to load video after 10 retries"):
            list(LabeledVideoDataset(videos, make_clip_sampler("random", 1.0), **arguments))
    assert [sample["label"] for sample in Kinetics(video_list, SegmentClipSampler(8), **arguments)] == [0, 1, 2]


def test_demand_8_no_more_is_decoded_than_what_the_frames_can_depend_on(index_video, monkeypatch):
    """Loading is what people wait for: of 60 frames, 8 cost the reference frames on the way to them, and themselves."""
    shown = []
    original = Decoder.frames_of

    def counting(*arguments):
        for frame in original(*arguments):
            shown.append(frame.pts)
            yield frame

    monkeypatch.setattr(Decoder, "frames_of", counting)
    with SparseVideo(index_video, threads=1) as video:
        video.frames_at(segment_indices(video.num_frames, 8))
        assert len(shown) < 40
        shown.clear()
        video.frames_at(video.keyframes)
        assert len(shown) == len(video.keyframes)


def test_demand_11_a_window_between_two_frames_gives_none_and_says_no_more(index_video):
    with contextlib.closing(EncodedVideoSparse.from_path(index_video)) as video:
        assert video.get_clip(0.01, 0.02) == {"video": None, "audio": None}
        assert video.get_clip(0, 0.01)["video"].shape[1] == 1
