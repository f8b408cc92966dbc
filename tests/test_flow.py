"""Optical flow: known motions come out as numbers, and the folders are those that the originals read."""

import os
import shutil
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from index_video import bars, read_number, write_index_video
from PIL import Image
from waiting import wait_until

from pv_sparse import VideoDecodeError
from pv_sparse.cli import main
from pv_sparse.data.flow import compute_flow, decode_flow, encode_flow, remove_camera_motion, write_flow_folder
from pv_sparse.flow_command import flow_folders

cv2 = pytest.importorskip("cv2")
HEIGHT, WIDTH = 96, 128
SIZE = ("--size", "128x96", "--method", "dis")


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """Smooth random spots, uint8."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.5), None, 0, 255, cv2.NORM_MINMAX)


def view(picture: np.ndarray, x: int, y: int) -> np.ndarray:
    """What a camera sees of a picture: the picture moves left and up as the camera moves right and down."""
    return picture[20 + y : 20 + y + HEIGHT, 20 + x : 20 + x + WIDTH].copy()


def panned(camera: tuple[int, int], thing: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Two frames: the camera moves, and a square of 32 pixels moves over the background."""
    background, square = texture(0, HEIGHT + 40, WIDTH + 40), texture(1, 32, 32)
    world = background.copy()
    world[52:84, 60:92] = square
    later = background.copy()
    later[52 + thing[1] : 84 + thing[1], 60 + thing[0] : 92 + thing[0]] = square
    return view(world, 0, 0), view(later, *camera)


def write_video(path: Path, num_frames: int = 5) -> Path:
    """A texture that moves 3 pixels to the right and 2 up with each frame."""
    picture = texture(0, HEIGHT + 40, WIDTH + 40)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
        for number in range(num_frames):
            grey = view(picture, -3 * number, 2 * number)
            frame = av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, axis=2), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def flow(*arguments, code: int = 0):
    result = CliRunner().invoke(main, ["flow", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its path there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("method", ["tvl1", "dis"])
@pytest.mark.parametrize("shift", [(3, -2), (-2, 3)])
def test_a_known_shift_is_the_flow(method, shift):
    picture = texture(0, HEIGHT + 40, WIDTH + 40)
    found = compute_flow(view(picture, 0, 0), view(picture, -shift[0], -shift[1]), method)
    assert found.shape == (2, HEIGHT, WIDTH)
    assert found.dtype == np.float32
    assert found.mean(axis=(1, 2)) == pytest.approx(shift, rel=0.1)


def test_colour_frames_have_the_flow_of_their_grey():
    previous, following = (view(texture(0, HEIGHT + 40, WIDTH + 40), x, 0) for x in (0, 2))
    colour = [torch.from_numpy(frame).expand(3, -1, -1) for frame in (previous, following)]
    assert np.array_equal(compute_flow(*colour, "dis"), compute_flow(previous, following, "dis"))


def test_what_is_no_pair_of_frames_is_told():
    frame = np.zeros((96, 128), np.uint8)
    with pytest.raises(ValueError, match=r"method='farneback' is not allowed: choose from tvl1, dis"):
        compute_flow(frame, frame, "farneback")
    with pytest.raises(ValueError, match="give two of one size"):
        compute_flow(frame, frame[:, 1:], "dis")
    with pytest.raises(ValueError, match=r"float32 \(96, 128\) is no frame"):
        compute_flow(frame.astype(np.float32), frame, "dis")


def test_flow_is_stored_from_minus_to_plus_the_bound():
    flow = np.array([-99, -20, -10, 0, 10, 20, 99], np.float32)
    assert encode_flow(flow).tolist() == [0, 0, 64, 128, 191, 255, 255]
    assert decode_flow(np.array([0, 255], np.uint8)).tolist() == [-20, 20]
    assert encode_flow(flow, bound=10.0).tolist() == [0, 0, 0, 128, 255, 255, 255]


@given(st.floats(-20, 20, width=32))
def test_stored_flow_is_exact_to_half_a_level(value):
    assert decode_flow(encode_flow(np.float32([value])))[0] == pytest.approx(value, abs=20 / 255 + 1e-5)


@given(st.integers(0, 255))
def test_every_level_comes_back(level):
    assert encode_flow(decode_flow(np.uint8([level])))[0] == level


def test_without_the_cameras_motion_only_the_thing_moves():
    previous, following = panned(camera=(4, -3), thing=(-2, 2))
    plain = compute_flow(previous, following, "dis")
    warped = compute_flow(previous, remove_camera_motion(previous, following), "dis")
    background = np.ones((HEIGHT, WIDTH), bool)
    background[20:76, 28:84] = False  # the square, and as much again around it
    assert plain[:, background].mean(axis=1) == pytest.approx([-4, 3], rel=0.1)
    assert np.abs(warped[:, background]).mean() < 0.1
    assert warped[:, 40:56, 48:64].mean(axis=(1, 2)) == pytest.approx([-2, 2], rel=0.1)


@pytest.mark.parametrize("blank", [np.full((HEIGHT, WIDTH), 90, np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)])
def test_a_camera_that_nothing_shows_to_move_stands_still(blank):
    following = view(texture(0, HEIGHT + 40, WIDTH + 40), 0, 0)
    assert np.array_equal(remove_camera_motion(blank, following), following)
    assert np.array_equal(remove_camera_motion(following, blank), blank)


def test_a_folder_has_the_layout_of_the_originals(tmp_path):
    assert write_flow_folder(write_video(tmp_path / "v.mkv"), tmp_path / "out" / "v", method="dis", size=None) == 5
    names = sorted(path.name for path in (tmp_path / "out" / "v").iterdir())
    expected = [f"flow_{axis}_{number:05}.jpg" for axis in "xy" for number in range(1, 5)]
    assert names == [*expected, *(f"img_{number:05}.jpg" for number in range(1, 6))]
    for number in range(1, 5):
        images = [Image.open(tmp_path / "out" / "v" / f"flow_{axis}_{number:05}.jpg") for axis in "xy"]
        assert [image.mode for image in images] == ["L", "L"]
        means = [decode_flow(np.asarray(image)).mean() for image in images]
        assert means == pytest.approx([3, -2], rel=0.1)


def test_image_k_is_frame_k_in_colour_at_the_lineages_size(tmp_path):
    path = write_index_video(tmp_path / "v.mp4", 12)
    write_flow_folder(path, tmp_path / "v", method="dis")
    for number in range(12):
        image = Image.open(tmp_path / "v" / f"img_{number + 1:05}.jpg")
        assert image.size == (340, 256)
        assert read_number(np.asarray(image.convert("RGB")).transpose(2, 0, 1)) == number


def test_red_stays_red(tmp_path):
    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "bgr0"
        red = av.VideoFrame.from_ndarray(bars(1023, 64, 64) * np.uint8([1, 0, 0]), format="rgb24")
        container.mux([*stream.encode(red), *stream.encode(None)])
    assert write_flow_folder(tmp_path / "v.mkv", tmp_path / "v") == 1
    assert [path.name for path in (tmp_path / "v").iterdir()] == ["img_00001.jpg"]
    red_mean, green_mean, _ = np.asarray(Image.open(tmp_path / "v" / "img_00001.jpg")).mean(axis=(0, 1))
    assert (red_mean > 200, green_mean < 40) == (True, True)


def test_the_same_in_small_chunks(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.mkv")
    write_flow_folder(path, tmp_path / "whole", method="dis", size=None)
    monkeypatch.setattr("pv_sparse.data.flow.CHUNK_BYTES", 2 * 3 * HEIGHT * WIDTH)
    write_flow_folder(path, tmp_path / "chunks", method="dis", size=None)
    assert contents(tmp_path / "chunks") == contents(tmp_path / "whole")


def test_a_bad_video_leaves_no_folder(tmp_path):
    (tmp_path / "v.mp4").write_text("this is no video")
    with pytest.raises(VideoDecodeError):
        write_flow_folder(tmp_path / "v.mp4", tmp_path / "v")
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="remove it to compute its flow again"):
        write_flow_folder(tmp_path / "v.mp4", tmp_path / "there")


@pytest.fixture
def videos(tmp_path) -> Path:
    """Four short videos, two of them with one name."""
    folder = tmp_path / "videos"
    for name in ("b.mkv", "walk/a.mkv", "run/a.mkv", "run/c.mkv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(folder / name, 3)
    return folder


def test_videos_of_one_name_have_folders_of_their_own(videos, tmp_path):
    (tmp_path / "list.txt").write_text("videos/walk/a.mkv 0\nvideos/run/a.mkv 1\n")
    told = flow(videos, tmp_path / "out", *SIZE, "--no-rgb", "--jobs", 1).stderr
    assert told == f"4 videos: flow in {tmp_path / 'out'}\n"
    flow(tmp_path / "list.txt", tmp_path / "listed", *SIZE, "--jobs", 1)
    folders = {str(Path(name).parent) for name in contents(tmp_path / "out")} - {"."}
    assert folders == {"b", "walk/a", "run/a", "run/c"}
    assert len(contents(tmp_path / "out")) == 1 + 4 * 2 * 2
    assert {str(Path(name).parent) for name in contents(tmp_path / "listed")} - {"."} == {"walk/a", "run/a"}


def test_no_folder_is_anothers_or_inside_anothers(tmp_path):
    for name in ("a.mp4", "a.avi", "b.mp4", "b/c.mp4", "d.1.mp4", "e/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = flow_folders([str(tmp_path), f"{tmp_path}/a.mp4", f"{tmp_path}/e/.."], Path("out"))
    names = {video.removeprefix(f"{tmp_path}/"): str(folder) for video, folder in found.items()}
    assert names == {
        "a.avi": "out/a.avi",
        "a.mp4": "out/a.mp4",
        "b.mp4": "out/b.mp4",
        "b/c.mp4": "out/b/c",
        "d.1.mp4": "out/d.1",
        "e/a.mp4": "out/e/a",
    }
    both = flow_folders([f"{tmp_path}/e", f"{tmp_path}/b"], Path("out"))
    assert list(both.values()) == [Path("out/e/a"), Path("out/b/c")]
    (tmp_path / "a.mp4.mkv").touch()
    with pytest.raises(ValueError, match=r"two videos would have the folder out/a\.mp4: give them in two runs"):
        flow_folders([str(tmp_path)], Path("out"))


@pytest.mark.slow
def test_any_number_of_processes_write_the_same(videos, tmp_path):
    flow(videos, tmp_path / "one", *SIZE, "--warped", "--jobs", 1)
    flow(videos, tmp_path / "two", *SIZE, "--warped", "--jobs", 2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_bad_video_is_named_at_the_end_and_the_others_are_done(videos, tmp_path):
    (videos / "bad.mp4").write_text("this is no video")
    result = flow(videos, tmp_path / "out", *SIZE, "--jobs", 1, code=1)
    error, summary = result.stderr.splitlines()
    assert error.startswith(f"Error: {videos / 'bad.mp4'}: it is not a video, or its header is damaged")
    assert summary == f"5 videos, 1 failed: flow in {tmp_path / 'out'}"
    assert (tmp_path / "out" / "walk" / "a").is_dir()
    again = flow(videos, tmp_path / "out", *SIZE, "--jobs", 1, code=1)
    assert again.stderr.splitlines()[1] == f"5 videos, 4 were there, 1 failed: flow in {tmp_path / 'out'}"


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path):
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "0.mkv")
    for number in range(1, 9):
        shutil.copy(tmp_path / "videos" / "0.mkv", tmp_path / "videos" / f"{number}.mkv")
    arguments = [str(tmp_path / "videos"), str(tmp_path / "out"), "--size", "64x48", "--jobs", "2"]
    command = [sys.executable, "-W", "ignore", "-m", "pv_sparse", "flow", *arguments]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_until(lambda: any((tmp_path / "out" / str(number)).exists() for number in range(9)), running)
    running.send_signal(signal.SIGKILL)
    running.wait()
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("[0-9]")}
    assert 0 < len(finished) < 9
    flow(*arguments, "--jobs", 1)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    flow(tmp_path / "videos" / "0.mkv", tmp_path / "whole", "--size", "64x48")
    whole = contents(tmp_path / "whole" / "0")
    assert len(whole) == 5 + 2 * 4
    assert sorted(os.listdir(tmp_path / "out")) == [*"012345678", "flow.json"]  # noqa: PTH208
    for number in range(9):
        assert contents(tmp_path / "out" / str(number)) == whole


@pytest.mark.parametrize("changed", [("--method", "tvl1"), ("--warped",), ("--bound", 10), ("--size", "64x64")])
def test_two_kinds_of_flow_do_not_mix(videos, tmp_path, changed):
    flow(videos / "b.mkv", tmp_path / "out", *SIZE)
    assert "holds flow of other options" in flow(videos, tmp_path / "out", *SIZE, *changed, code=1).stderr


def test_a_missing_opencv_is_told_with_its_extra(videos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert 'pip install "pv-sparse[flow]"' in flow(videos, tmp_path / "out", code=1).stderr
    assert not (tmp_path / "out").exists()


def test_only_tvl1_needs_the_contrib_modules(videos, tmp_path, monkeypatch):
    monkeypatch.delattr(cv2, "optflow")
    assert "method dis does without" in flow(videos, tmp_path / "out", "--method", "tvl1", code=1).stderr
    flow(videos / "b.mkv", tmp_path / "out", "--method", "dis", *SIZE)


@pytest.mark.parametrize("size", ["340", "0x9", "axb", "-3x9"])
def test_a_size_that_is_none_is_told(videos, tmp_path, size):
    assert "such as 340x256, or keep" in flow(videos, tmp_path / "out", "--size", size, code=1).stderr
