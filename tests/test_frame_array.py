"""Frames decoded once to `.npy` files, read like a video."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from index_video import bars, read_numbers

from pv_sparse import SegmentClipSampler, SparseVideoDataset, VideoDecodeError
from pv_sparse.data.frame_array import FrameArray
from pv_sparse.data.opening import open_frames


def write_array(path, count=12, height=96, width=160):
    """Frames that show their numbers."""
    frames = np.stack([bars(number, width, height) for number in range(count)])
    np.save(path, np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
    return path


def test_frames_are_those_asked_for(tmp_path):
    path = write_array(tmp_path / "video.npy")
    with FrameArray(path, rate=10) as video:
        frames = video.frames_at([11, 0, 5, 0])
        assert (frames.shape, frames.dtype) == ((4, 3, 96, 160), torch.uint8)
        assert frames.is_contiguous()
        assert read_numbers(frames) == [11, 0, 5, 0]
        assert read_numbers(video.frames_at(torch.tensor([[3, 2], [1, 9]]))) == [3, 2, 1, 9]
        assert (video.path, video.num_frames, video.height, video.width) == (str(path), 12, 96, 160)
        assert (video.duration_seconds, video.average_rate) == (Fraction(12, 10), 10)
        assert (video.frame_times_seconds[3].item(), len(video.frame_times_seconds)) == (0.3, 12)
        assert video.frames_between(Fraction(3, 10), 0.65) == range(3, 7)
        assert video.frames_between(-1, 9) == range(12)
        assert video.keyframes == list(video.packets.keyframes) == list(range(12))
        assert repr(video) == f"FrameArray({str(path)!r}, num_frames=12, size=96x160)"


def test_sizes(tmp_path):
    video = FrameArray(write_array(tmp_path / "video.npy"))
    assert video.frames_at([0], size=48).shape == (1, 3, 48, 80)
    assert read_numbers(video.frames_at(range(3), size=(48, 80))) == [0, 1, 2]
    assert torch.equal(video.frames_at([7], size=96), video.frames_at([7]))
    assert video.frames_at([]).shape == (0, 3, 96, 160)
    assert video.frames_at([], size=48).shape == (0, 3, 48, 80)


def test_frames_are_copies_and_the_file_stays_as_it_is(tmp_path):
    path = write_array(tmp_path / "video.npy")
    before = path.read_bytes()
    video = FrameArray(path)
    video.frames_at([1]).fill_(0)
    assert read_numbers(video.frames_at([1])) == [1]
    assert path.read_bytes() == before


def test_arrays_in_fortran_order_are_read(tmp_path):
    path = write_array(tmp_path / "video.npy")
    np.save(path, np.asfortranarray(np.load(path)))
    frames = FrameArray(path).frames_at([4, 2])
    assert frames.is_contiguous()
    assert read_numbers(frames) == [4, 2]


def test_wrong_arguments_are_told(tmp_path):
    video = FrameArray(write_array(tmp_path / "video.npy"))
    with pytest.raises(IndexError, match="frame 12 is outside 0 to 11"):
        video.frames_at([12])
    with pytest.raises(TypeError, match="must be integers"):
        video.frames_at([0.5])
    with pytest.raises(ValueError, match="size=0 is not allowed"):
        video.frames_at([0], size=0)
    video.close()
    video.close()
    with pytest.raises(ValueError, match="the array was closed: read frames before"):
        video.frames_at([0])
    with pytest.raises(FileNotFoundError):
        FrameArray(tmp_path / "nothing.npy")


def zeros(*shape, dtype=np.uint8):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (zeros(4, 8, 8, 3), r"an array of uint8 and shape \(4, 8, 8, 3\): frames are uint8 of shape \(T, 3, H, W\)"),
        (zeros(3, 8, 8), r"shape \(3, 8, 8\)"),
        (zeros(0, 3, 8, 8), r"shape \(0, 3, 8, 8\)"),
        (zeros(4, 3, 8, 0), r"shape \(4, 3, 8, 0\)"),
        (np.uint8(7), r"shape \(\)"),
        (zeros(4, 3, 8, 8, dtype=np.float32), "an array of float32"),
        (zeros(4, 3, 8, 8, dtype=np.int8), "an array of int8"),
    ],
)
def test_arrays_of_something_else_are_told(tmp_path, array, told):
    path = tmp_path / "video.npy"
    np.save(path, array)
    with pytest.raises(VideoDecodeError, match=told) as raised:
        FrameArray(path)
    assert raised.value.path == str(path)


def test_what_is_no_whole_file_is_told_in_one_line(tmp_path):
    path = write_array(tmp_path / "video.npy")
    whole = path.read_bytes()
    damaged = [b"", b"not an array", whole[:10], whole[:40], whole[:-1], b"PK\3\4" + whole]
    changes = {b"'shape'": b"'shap\xff'", b"|u1": b"<f\n", b"(12,": b"(((("}
    damaged += [whole.replace(old, new) for old, new in changes.items()]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(VideoDecodeError, match=r"not a whole \.npy file of plain numbers") as raised:
            FrameArray(path)
        assert "\n" not in str(raised.value)


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "video.npy"
    np.save(path, np.array([{}, None], object), allow_pickle=True)
    with pytest.raises(VideoDecodeError, match=r"not a whole \.npy file of plain numbers"):
        FrameArray(path)


def test_data_sets_read_arrays_as_videos(tmp_path):
    samples = [(str(write_array(tmp_path / f"{count}.NPY.npy", count)), {"label": 0}) for count in (12, 40)]
    dataset = SparseVideoDataset(samples, SegmentClipSampler(4), on_error="raise")
    for sample in dataset:
        assert read_numbers(sample["video"].transpose(0, 1)) == list(sample["frame_indices"])
    assert list(dataset[0]["frame_indices"]) == [1, 4, 7, 10]
    (tmp_path / "12.NPY.npy").write_bytes(b"broken")
    with pytest.raises(VideoDecodeError, match="not a whole"):
        dataset[0]


def test_open_frames_goes_by_the_suffix(tmp_path):
    path = write_array(tmp_path / "video.npy")
    upper = path.rename(tmp_path / "video.NPY")
    video = open_frames(upper, rate=5)
    assert isinstance(video, FrameArray)
    assert video.average_rate == 5
