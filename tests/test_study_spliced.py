"""Clips spliced into distracting footage: they lie where the list says, and a recogniser's own word is the truth."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pv_sparse import SparseVideo
from pv_sparse.data.encoding import write_video
from pv_sparse.study import spliced, spliced_truth
from pv_sparse.study.spliced import RATE, plan_of, splice, write_excerpt
from pv_sparse.study.spliced_truth import Truth, figures_of, truth_of
from pv_sparse.zoo.loading import find_weights

COLOURS = {"red": (200, 20, 20), "blue": (20, 20, 200)}
GREYS = {"wall": 60, "road": 160}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Clips of 2 s at 25 frames a second, and footage of 5 s at 10, each of one colour; of other shapes."""
    folder = tmp_path_factory.mktemp("files")
    for name, colour in COLOURS.items():
        write_video(folder / f"{name}.mp4", [np.full((48, 80, 3), colour, np.uint8)] * 50, 25)
    for name, grey in GREYS.items():
        write_video(folder / f"{name}.mp4", [np.full((64, 48, 3), grey, np.uint8)] * 50, 10)
    return [folder / f"{name}.mp4" for name in COLOURS], [folder / f"{name}.mp4" for name in GREYS]


@contextmanager
def small():
    """Videos of 8 to 12 s, a fifth of which the clip takes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"LENGTHS": (8, 12), "SHARES": (0.15, 0.25), "HEIGHT": 64, "WIDTH": 86}.items():
            patch.setattr(spliced, name, value)
        yield


@pytest.fixture(scope="module")
def made(files, tmp_path_factory):
    """Four short videos, and their folder."""
    folder = tmp_path_factory.mktemp("spliced")
    with small():
        return folder, splice(*files, folder, 4, piece_seconds=(0.5, 1.5))


@pytest.fixture
def weights(tiny):
    """Of three segments, with random tensors."""
    return find_weights(tiny)


def test_the_plan_holds_clips_of_any_length():
    for seconds in (1.8, 2.4, 10, 24, 500):
        for seed in range(20):
            plan = plan_of(seconds, Path("a.mp4"), np.random.default_rng(seed))
            assert 60 * RATE <= plan.num_frames <= 240 * RATE
            assert 0.03 - 1e-9 <= (plan.end - plan.begin) / plan.num_frames <= 0.1 + 1e-9
            assert plan.end - plan.begin == round(min(seconds, 24) * RATE)
            assert 0 <= plan.begin < plan.end <= plan.num_frames
    with pytest.raises(ValueError, match=r"a.mp4: 1.70 s are too short: give clips of 1.8 s or more"):
        plan_of(1.7, Path("a.mp4"), np.random.default_rng(0))


def test_the_clip_lies_where_the_list_says(made):
    _, videos = made
    assert videos.classes == ("red", "blue")
    assert [info["label"] for _, info in videos.samples] == [0, 1, 0, 1]
    for path, info in videos.samples:
        start, end = info["event_seconds"]
        with SparseVideo(path, threads=1) as video:
            assert (video.height, video.width, video.average_rate, video.codec) == (64, 86, RATE, "h264")
            assert 8 * RATE <= video.num_frames <= 12 * RATE
            mean = video.frames_at(range(video.num_frames)).float().mean(dim=(2, 3))
            inside = (video.frame_times_seconds >= start - 1e-6) & (video.frame_times_seconds < end - 1e-6)
        is_grey = (mean.max(dim=1).values - mean.min(dim=1).values) < 20
        assert inside.sum() == 2 * RATE
        assert torch.equal(torch.as_tensor(inside), ~is_grey)
        assert (mean[torch.as_tensor(inside)].argmax(dim=1) == (0, 2)[info["label"]]).all()
        # Footage of both files comes before or after.
        assert mean[is_grey].std() > 20


def test_files_are_made_once_and_alike_everywhere(files, made, tmp_path):
    folder, videos = made
    with small():
        again = splice(*files, tmp_path, 1, piece_seconds=(0.5, 1.5))
    path = Path(again.samples[0][0])
    assert path.relative_to(tmp_path) == Path(videos.samples[0][0]).relative_to(folder) == Path("red/0_0000.mp4")
    assert path.read_bytes() == Path(videos.samples[0][0]).read_bytes()
    time = path.stat().st_mtime_ns
    with small():
        assert splice(*files, tmp_path, 1, piece_seconds=(0.5, 1.5)).samples == again.samples
    assert path.stat().st_mtime_ns == time


def test_whole_files_may_be_the_footage(files, tmp_path):
    with small():
        videos = splice(files[0], files[1][:1], tmp_path, 1, seed=1, piece_seconds=None)
    with SparseVideo(videos.samples[0][0], threads=1) as video:
        assert video.num_frames >= 8 * RATE  # longer than the file, which comes again


def test_excerpts_are_the_beginning(files, tmp_path):
    with small():
        excerpts = [write_excerpt(files[1][0], tmp_path, 1.5), write_excerpt(files[0][0], tmp_path)]
    for path, num_frames in zip(excerpts, (18, 24), strict=True):
        with SparseVideo(path, threads=1) as video:
            assert (video.num_frames, video.height, video.width) == (num_frames, 64, 86)


def test_what_cannot_be_spliced_is_told(files, tmp_path):
    clips, footage = files
    with pytest.raises(ValueError, match="0 clips and 2 distractors are too few: give one or more of each"):
        splice([], footage, tmp_path, 1)
    with pytest.raises(ValueError, match="clips=red, red: two have one name"):
        splice([clips[0]] * 2, footage, tmp_path, 1)
    assert not list(tmp_path.iterdir())


# Truth


def test_the_truth_is_what_is_said_of_the_clips_alone(files, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(spliced_truth, "OF_FOOTAGE", 2)
    said = {"wall": [9, 3, 0.01, 0.01], "road": [8, 1, 0.01, 0.01], "red": [0, 1, 4, 0], "blue": [0, 1, 0, 2]}
    monkeypatch.setattr(spliced_truth, "_scores", lambda _, path, most=None: torch.tensor(said[path.stem]).float())
    with small():
        truth = truth_of(weights, *files, tmp_path)
        assert truth.classes == (2, 3)
        assert truth.footage.tolist() == pytest.approx(np.log([72, 3, 1e-4, 1e-4]) / 2, abs=1e-5)
        said["blue"] = said["red"]
        with pytest.raises(ValueError, match=r"blue.mp4 and .*red.mp4 are both of class 2: leave one of them out"):
            truth_of(weights, *files, tmp_path)
        said["blue"] = said["road"]
        with pytest.raises(ValueError, match=r"blue.mp4 and .*road.mp4 are both of class 0"):
            truth_of(weights, *files, tmp_path)


def test_the_truth_is_of_all_frames(files, weights, tmp_path):
    """Of one colour all frames look alike, so any one of them says the same."""
    with small():
        clip = write_excerpt(files[0][0], tmp_path)
    every, one = (spliced_truth._scores(weights, clip, most) for most in (None, 1))
    assert every.shape == (7,)
    assert torch.allclose(every, one, atol=0.1)


def test_what_footage_says_of_itself_is_not_what_a_video_says():
    truth = Truth((0, 1, 2), torch.tensor([0.7, 0.2, 0.1]).log())
    rise = truth.rise(torch.tensor([0.6, 0.25, 0.15]))
    assert rise.exp().tolist() == pytest.approx([0.6 / 0.7, 1.25, 1.5])


def test_figures_count_what_is_right(made, weights):
    _, videos = made
    truth = Truth((2, 3), torch.full((7,), 1 / 7).log())
    figures = figures_of(videos, truth, weights, 30)
    assert (figures.select, figures.num_segments) == ("even", 30)
    assert figures.in_clip == pytest.approx(0.2, abs=0.05)
    assert 0 <= figures.top5 <= 1
    assert 0 < figures.decode_cpu_seconds < figures.cpu_seconds
    assert figures.num_videos == 4
    # Whatever is said of a video, one order of two classes makes it right, and the other wrong.
    swapped = figures_of(videos, replace(truth, classes=(3, 2)), weights, 30)
    assert figures.first + swapped.first == 1
    assert figures_of(videos, truth, weights, 2, "motion").select == "motion"
