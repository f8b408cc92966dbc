"""Videos as folders of pictures."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from index_video import bars, read_numbers
from PIL import Image

from pv_sparse import FrameFolder, SegmentClipSampler, SparseVideoDataset, VideoDecodeError


def write_pictures(folder, prefix="img_", count=12, first=1, suffix=".png", size=(96, 160), digits=5, grey=False):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture = Image.fromarray(bars(number, size[1], size[0]))
        name = f"{prefix}{number + first:0{digits}d}{suffix}"
        (picture.convert("L") if grey else picture).save(folder / name)
    return folder


@pytest.mark.parametrize(
    ("prefix", "first", "suffix", "digits"),
    [
        ("img_", 1, ".png", 5),
        ("img_", 1, ".jpg", 5),
        ("frame_", 0, ".png", 10),
        ("", 1, ".png", 1),
        ("v1_", 7, ".png", 3),
    ],
)
def test_pictures_are_found_by_their_numbers(tmp_path, prefix, first, suffix, digits):
    folder = write_pictures(tmp_path / "video", prefix, first=first, suffix=suffix, digits=digits)
    (folder / "n_frames").write_text("12")
    video = FrameFolder(folder, rate=10)
    assert video.num_frames == 12
    frames = video.frames_at([11, 0, 5, 0])
    assert frames.shape == (4, 3, 96, 160)
    assert frames.dtype == torch.uint8
    assert read_numbers(frames) == [11, 0, 5, 0]
    assert (video.duration_seconds, video.average_rate) == (Fraction(12, 10), 10)
    assert video.frame_times_seconds[3] == 0.3
    assert video.keyframes == list(range(12))


def test_flow_is_x_then_y(tmp_path):
    write_pictures(tmp_path / "v", "flow_x_", 6, grey=True)
    for number in range(6):
        Image.fromarray(np.full((96, 160), 10 * number, np.uint8)).save(tmp_path / "v" / f"flow_y_{number + 1:05d}.png")
    write_pictures(tmp_path / "v", "img_", 7)
    video = FrameFolder(tmp_path / "v", "flow")
    frames = video.frames_at([4, 1])
    assert frames.shape == (2, 2, 96, 160)
    assert read_numbers(frames[:, :1].expand(-1, 3, -1, -1)) == [4, 1]
    assert frames[:, 1].flatten(1).unique(dim=1).flatten().tolist() == [40, 10]
    assert FrameFolder(tmp_path / "v").num_frames == 7


def test_size_and_pictures_of_another_size(tmp_path):
    folder = write_pictures(tmp_path / "v", count=3)
    Image.fromarray(bars(1, 80, 48)).save(folder / "img_00002.png")
    video = FrameFolder(folder)
    assert video.frames_at([1, 2]).shape == (2, 3, 96, 160)
    assert video.frames_at([0], size=48).shape == (1, 3, 48, 80)
    assert read_numbers(video.frames_at(range(3), size=(48, 80))) == [0, 1, 2]
    assert video.frames_at([]).shape == (0, 3, 96, 160)


def test_what_is_wrong_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        FrameFolder(tmp_path / "nothing")
    with pytest.raises(VideoDecodeError, match=r"no pictures in the folder: they are named like img_00001\.jpg"):
        FrameFolder(tmp_path)
    with pytest.raises(VideoDecodeError, match="no flow in the folder"):
        FrameFolder(tmp_path, "flow")
    with pytest.raises(ValueError, match="choose one of rgb, flow"):
        FrameFolder(tmp_path, "depth")
    gap = write_pictures(tmp_path / "gap")
    (gap / "img_00004.png").unlink()
    with pytest.raises(VideoDecodeError, match="frame 3: the picture img_4 is missing"):
        FrameFolder(gap)
    write_pictures(gap, "mask_")
    with pytest.raises(VideoDecodeError, match="several kinds, 'img_', 'mask_': choose with prefixes="):
        FrameFolder(gap)
    assert FrameFolder(gap, prefixes=["mask_"]).num_frames == 12
    uneven = write_pictures(write_pictures(tmp_path / "uneven", "flow_x_", 3), "flow_y_", 2)
    with pytest.raises(VideoDecodeError, match="as many pictures of x as of y, and there are 3 flow_x_, 2 flow_y_"):
        FrameFolder(uneven, "flow")
    broken = write_pictures(tmp_path / "broken", count=3)
    (broken / "img_00002.png").write_bytes(b"not a picture")
    video = FrameFolder(broken)
    assert read_numbers(video.frames_at([0, 2])) == [0, 2]
    with pytest.raises(VideoDecodeError, match=r"frame 1: img_00002\.png cannot be read"):
        video.frames_at([0, 1])
    with pytest.raises(IndexError, match="frame 3 is outside 0 to 2"):
        video.frames_at([3])


def test_demand_15_own_data_as_videos_and_as_folders_of_pictures(tmp_path, index_video):
    (tmp_path / "walk").mkdir()
    (tmp_path / "walk" / "a.mp4").write_bytes(index_video.read_bytes())
    write_pictures(tmp_path / "run" / "b")
    dataset = SparseVideoDataset(tmp_path, SegmentClipSampler(4))
    assert dataset.classes == ("run", "walk")
    assert [(sample["video_name"], sample["label"]) for sample in dataset] == [("b", 0), ("a.mp4", 1)]
    assert read_numbers(dataset[0]["video"].transpose(0, 1)) == [1, 4, 7, 10]


def test_flow_folders_make_flow_samples(tmp_path):
    write_pictures(write_pictures(tmp_path / "v", "flow_x_", 6, grey=True), "flow_y_", 6, grey=True)
    sample = SparseVideoDataset([(tmp_path / "v", {})], SegmentClipSampler(2, 2), modality="flow")[0]
    assert sample["video"].shape == (2, 4, 96, 160)
