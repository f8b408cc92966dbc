"""The generated data sets: twins show the same frames, classes are to be seen, and all is alike everywhere."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pv_sparse import SegmentClipSampler, SparseVideo, SparseVideoDataset
from pv_sparse.data import read_class_folders
from pv_sparse.data.encoding import write_video
from pv_sparse.parallel import for_each
from pv_sparse.recipes.building import read_lists
from pv_sparse.recipes.config import compose
from pv_sparse.study import appearance20, generated, order20, scenes
from pv_sparse.study.appearance20 import DARK
from pv_sparse.study.making import DATA_SETS, make
from pv_sparse.study.scenes import COLOURS

GROUND = 60.0


def painted(paint_event, progress):
    """(SIZE, SIZE, 3) of an event alone, on even ground."""
    picture = np.full((scenes.SIZE, scenes.SIZE, 3), GROUND, np.float32)
    paint_event(picture, progress)
    return picture


def changed_pixels(picture, other, least=30.0):
    """(SIZE, SIZE) bool, where two pictures differ."""
    return np.abs(picture - other).max(axis=2) > least


def frames_of(path, size=None):
    with SparseVideo(path, threads=1) as video:
        return video.frames_at(range(video.num_frames), size)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("order20")


@pytest.fixture(scope="module")
def videos(root):
    """Two scenes: moves left and right, up and down."""
    return generated.order20(root, "train", 4)


# What happens


def test_twins_are_the_same_pictures_backwards():
    forwards, backwards = order20.films(0, np.random.default_rng(0))
    assert 60 <= len(forwards) <= 120
    assert (forwards[0].shape, forwards[0].dtype) == ((96, 96, 3), np.uint8)
    assert all(np.array_equal(*pair) for pair in zip(forwards, reversed(backwards), strict=True))
    assert not np.array_equal(forwards[0], backwards[0])


@pytest.mark.parametrize("twin", range(10), ids=[name for name, _ in order20.TWINS])
def test_the_order_of_every_event_is_to_be_seen(twin):
    """An event's beginning and its end differ, by more than noise or a distractor makes."""
    for seed in range(10):
        paint_event = order20.EVENTS[twin](np.random.default_rng(seed))
        times = (0.25, 0.75) if "before" in order20.TWINS[twin][0] else (0.05, 0.95)
        early, late = (painted(paint_event, time) for time in times)
        assert changed_pixels(early, late).sum() > 60
        assert np.array_equal(early, painted(paint_event, times[0]))  # in whatever order it is asked for


def test_every_pair_of_twins_is_told_by_any_frame():
    """Something is there at every time, also where the event has not begun."""
    for draw in order20.EVENTS:
        for seed in range(5):
            paint_event = draw(np.random.default_rng(seed))
            for time in (0, 0.5, 1):
                assert changed_pixels(painted(paint_event, time), GROUND, least=8).sum() > 60


def test_all_draws_are_symmetrical_in_time():
    """Before an event, and after it, goes by what is drawn alike: up to a quarter of the video."""
    margins = []
    for seed in range(8):
        progress = []
        film = scenes.film(lambda random: lambda picture, time: progress.append(time), np.random.default_rng(seed))  # noqa: B023
        assert len(film) == len(progress)
        assert progress == sorted(progress)
        assert (progress[0], progress[-1]) == (0, 1)
        margins.append([progress.count(0) / len(film), progress.count(1) / len(film)])
    assert np.max(margins) < 0.27
    assert np.abs(np.mean(margins, axis=0) - 0.125).max() < 0.05


def test_appearances_are_what_the_classes_say():
    for label, (colour, texture, _) in enumerate(appearance20.LOOKS):
        for seed in range(3):
            paint_thing = appearance20.thing(label, np.random.default_rng(seed))
            for time in (0, 0.5, 1):
                picture = painted(paint_thing, time)
                seen = changed_pixels(picture, GROUND)
                assert seen.sum() > 200
                assert not np.concatenate([seen[[0, -1]].ravel(), seen[:, [0, -1]].ravel()]).any()
                own, dark = (np.abs(picture[seen] - known).max(axis=1) < 50 for known in (COLOURS[colour], DARK))
                assert own.mean() > 0.35
                assert (0.2 < dark.mean() < 0.65) if texture == "striped" else (dark.mean() < 0.05)
    assert len(appearance20.CLASSES) == len(set(appearance20.CLASSES)) == 20
    assert appearance20.CLASSES[0] == "red plain circle"


def test_things_move_in_any_way_whatever_they_are():
    ways = [appearance20._way(np.random.default_rng(seed)) for seed in range(60)]
    moves = {tuple(np.sign(end - start)) for start, end in ways}
    assert moves == {(0, 0, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)}
    for label in (0, 19):
        drawn = [appearance20.thing(label, np.random.default_rng(seed)) for seed in range(2)]
        assert not np.array_equal(painted(drawn[0], 0), painted(drawn[1], 0))


# Files


def test_videos_lie_in_class_folders(root, videos):
    assert videos.classes == order20.CLASSES
    assert len(set(videos.classes)) == 20
    names = [(Path(path).relative_to(root).as_posix(), info["label"]) for path, info in videos.samples]
    assert names == [
        ("train/moves left/0_0000.mp4", 0),
        ("train/moves right/0_0000.mp4", 1),
        ("train/moves up/0_0001.mp4", 2),
        ("train/moves down/0_0001.mp4", 3),
    ]
    assert {path for path, _ in read_class_folders(root / "train").samples} == {path for path, _ in videos.samples}
    assert not [path for path in root.rglob("*") if path.suffix == ".part"]


def test_videos_are_as_described(videos):
    for path, _ in videos.samples:
        with SparseVideo(path, threads=1) as video:
            assert 60 <= video.num_frames <= 120
            assert (video.height, video.width, video.average_rate, video.codec) == (96, 96, 25, "h264")
            assert max(np.diff([*video.keyframes, video.num_frames])) <= 12
            assert video.keyframes[0] == 0


def test_twins_stay_the_same_frames_when_they_are_encoded(videos):
    """Also in the mean: nothing but order tells them apart."""
    for number in (0, 2):
        forwards, backwards = (frames_of(videos.samples[number + twin][0]).float() for twin in range(2))
        assert (forwards - backwards.flip(0)).abs().mean() < 4
        assert (forwards.mean(0) - backwards.mean(0)).abs().mean() < 1
        assert (forwards - backwards).abs().mean() > 4


def test_files_are_made_once_and_alike_everywhere(root, videos, tmp_path):
    path = Path(videos.samples[0][0])
    before = path.stat().st_mtime_ns
    assert generated.order20(root, "train", 2).samples == videos.samples[:2]
    assert path.stat().st_mtime_ns == before
    again = generated.order20(tmp_path, "train", 2).samples
    assert Path(again[0][0]).read_bytes() == path.read_bytes()
    # One that is missing is made again, and its twin left as it is.
    kept = Path(again[1][0]).stat().st_mtime_ns
    Path(again[0][0]).unlink()
    generated.order20(tmp_path, "train", 2)
    assert Path(again[0][0]).read_bytes() == path.read_bytes()
    assert Path(again[1][0]).stat().st_mtime_ns == kept


def test_other_seeds_splits_and_scenes_are_others():
    def first(*key):
        return order20.films(0, np.random.default_rng([*key]))[0][0]

    pictures = [first(0, 0, *b"train"), first(1, 0, *b"train"), first(0, 10, *b"train"), first(0, 0, *b"val")]
    assert len({picture.tobytes() for picture in pictures}) == 4


def test_classes_are_equally_many():
    for data in DATA_SETS.values():
        for split, count in data.num_videos.items():
            found = generated.scenes_of(data, Path("there"), split, count)
            labels = np.bincount([label for scene in found for label in scene.labels])
            assert len(labels) == 20
            assert np.ptp(labels) == (0 if count % 20 == 0 else 1)
            assert len({video for scene in found for video in scene.videos}) == count


def test_arrays_are_what_the_videos_show(root, videos):
    arrays = generated.order20(root, "train", 2, frames=True)
    assert arrays.samples[0][0] == str(root / "frames_64" / "train" / "moves left" / "0_0000.npy")
    assert arrays.classes == videos.classes
    for (array, info), (video, other) in zip(arrays.samples, videos.samples, strict=False):
        frames = torch.from_numpy(np.load(array))
        assert torch.equal(frames, frames_of(video, size=64))
        assert info == other
    sample = SparseVideoDataset(arrays, SegmentClipSampler(8), dtype="uint8", size=64)[1]
    assert torch.equal(sample["video"].transpose(0, 1), frames[torch.as_tensor(sample["frame_indices"])])


def test_appearance_gives_one_video_a_scene(tmp_path):
    made = generated.appearance20(tmp_path, "val", 1, frames=True)
    assert [info["label"] for _, info in made.samples] == [0]
    assert (tmp_path / "val" / "red plain circle" / "0_0000.mp4").exists()
    assert np.load(made.samples[0][0]).shape[1:] == (3, 64, 64)


def test_numbers_that_are_not_allowed_are_told(tmp_path):
    with pytest.raises(ValueError, match=r"num_videos=3 is not allowed: give a multiple of 2, since so many come of"):
        generated.order20(tmp_path, "train", 3)
    with pytest.raises(ValueError, match="num_videos=0 is not allowed: give a multiple of 2"):
        generated.order20(tmp_path, "train", 0)
    with pytest.raises(ValueError, match="num_videos=0 is not allowed: give 1 or more"):
        generated.appearance20(tmp_path, "train", 0)
    with pytest.raises(ValueError, match="name='order' is unknown: choose one of order20, appearance20"):
        make("order", tmp_path)
    assert not list(tmp_path.iterdir())


def test_pictures_that_make_no_video_are_told(tmp_path):
    with pytest.raises(ValueError, match="no pictures were given"):
        write_video(tmp_path / "a.mp4", [])
    with pytest.raises(ValueError, match="pictures of 5x4 are not allowed: h264 needs even sides"):
        write_video(tmp_path / "a.mp4", [np.zeros((5, 4, 3), np.uint8)])
    with pytest.raises(ValueError, match="ndim"):
        write_video(tmp_path / "a.mp4", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)])
    assert not list(tmp_path.iterdir())


# Whole data sets


def test_configs_give_the_numbers_of_the_whole_sets(tmp_path):
    for name, data in DATA_SETS.items():
        node = compose("train", [f"data={name}", f"data.root={tmp_path}", "out=here", "seed=5"]).config.data
        assert {split: node[split].num_videos for split in ("train", "val")} == data.num_videos
        assert node.train.seed == node.val.seed == 0
        assert node.train.frames is node.val.frames is False


def test_configs_are_read_as_lists(root, videos):
    small = [f"data.root={root}", "data.train.num_videos=2", "data.val.num_videos=2", "data.frames=true", "out=here"]
    found = read_lists(compose("train", ["data=order20", *small]).config)
    assert [Path(path).suffix for path, _ in found["train"].samples] == [".npy", ".npy"]
    assert len(found["val"]) == 2


def test_make_tells_how_far_it_is(tmp_path):
    told = []
    make("appearance20", tmp_path, splits={"train": 1, "val": 1}, progress=lambda *counts: told.append(counts))
    assert told == [(1, 2), (2, 2)]
    assert len(list(tmp_path.rglob("*.mp4"))) == 2


@pytest.mark.slow
def test_processes_make_what_one_makes(root, videos, tmp_path):
    make("order20", tmp_path, jobs=2, splits={"train": 4}, frames=True)
    for path, _ in videos.samples:
        assert (tmp_path / Path(path).relative_to(root)).read_bytes() == Path(path).read_bytes()
    assert len(list(tmp_path.rglob("*.npy"))) == 4


@pytest.mark.slow
def test_processes_may_make_the_same_at_once(tmp_path):
    scene = generated.Scene(generated.ORDER20, tmp_path, "train", 0)
    make_both = partial(generated.Scene.make, frames=True)
    assert [failure for _, failure in for_each(make_both, [scene] * 8, 2)] == [None] * 8
    assert len(list(tmp_path.rglob("*.*"))) == 4
    for video, array in zip(scene.videos, scene.arrays, strict=True):
        assert torch.equal(torch.from_numpy(np.load(array)), frames_of(video, size=64))
