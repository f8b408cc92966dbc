"""People who walk left or right: tracks, windows, labels, and clips that are there forward and reversed."""

import json
import os
import sys
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from square_runs import quiet_lightning

from pv_sparse import PvSparseError, SparseVideo
from pv_sparse.recipes.building import build
from pv_sparse.recipes.config import compose
from pv_sparse.recipes.training import train
from pv_sparse.study.experiment_files import read_experiment
from pv_sparse.study.walking import CLASSES, Clip, find_clips, walking
from pv_sparse.study.walking_tracks import Track, find_tracks, link

SPEED, WIDTH, HEIGHT = 3.0, 20, 60
# (first frame, left, top, pixels a frame) of each walker.
WALKERS = ((2, 40, 20, SPEED), (3, 180, 102, -SPEED), (30, 35, 80, SPEED))
STEPS = 23


def place(walker, number):
    """(left, top, right, bottom) in a frame, None where the walker is not there."""
    first, left, top, speed = walker
    if not first <= number < first + STEPS:
        return None
    x = round(left + speed * (number - first))
    return x, top, x + WIDTH, top + HEIGHT


def walk(num_frames=56, height=184, width=224):
    """(frames, height, width, 3) uint8: dark people before noise that stands still."""
    random = np.random.default_rng(0)
    ground = random.integers(120, 200, (height, width, 3), dtype=np.uint8)
    pictures = np.repeat(ground[None], num_frames, axis=0)
    for number, picture in enumerate(pictures):
        for box in filter(None, (place(walker, number) for walker in WALKERS)):
            picture[box[1] : box[3], box[0] : box[2]] = (20, 30, 60)
    return pictures


def straight(start=0, left=50.0, speed=SPEED, num_frames=15, top=50.0):
    """A track of somebody of 20x60 pixels."""
    steps = left + speed * np.arange(num_frames)
    tops = np.full(num_frames, top)
    return Track(start, np.stack([steps, tops, steps + WIDTH, tops + HEIGHT], axis=1))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A video whose people are as large as those of vtest.avi at 432 pixels; kept without loss."""
    path = tmp_path_factory.mktemp("source") / "walk.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10, options={"threads": "1"})
        stream.height, stream.width, stream.pix_fmt = 184, 224, "bgr0"
        for picture in walk():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="bgr0")))
        container.mux(stream.encode(None))
    return path


def make(root, source, first_of_val=20):
    """The synthetic video is smaller and shorter: its first walkers are of `train`, the last is of `val`."""
    with pytest.MonkeyPatch.context() as small:
        small.setattr("pv_sparse.study.walking.HEIGHT", 184)
        small.setattr("pv_sparse.study.walking.FIRST_OF_VAL", first_of_val)
        return walking(root, "train", source)


@pytest.fixture(scope="module")
def root(source, tmp_path_factory):
    root = tmp_path_factory.mktemp("walking")
    make(root, source)
    return root


def fail(*arguments, **named):
    raise OSError("disk full")


def clips_in(root):
    return [Clip(**entry) for entry in json.loads((root / "clips.json").read_text())]


# Tracks


def test_people_are_found_where_they_walk():
    tracks = find_tracks(walk())
    assert [(track.start, len(track.boxes)) for track in tracks] == [(walker[0], STEPS) for walker in WALKERS]
    for track, walker in zip(tracks, WALKERS, strict=True):
        there = np.array([place(walker, number) for number in range(track.start, track.end)])
        assert np.abs(track.boxes - there).max() <= 4


def test_a_track_goes_on_where_its_blob_is_missed_for_two_frames_and_no_more():
    boxes = straight(num_frames=20).boxes
    for missed, tracks in ((2, 1), (3, 2)):
        seen = [boxes[[n]] if not 8 <= n < 8 + missed else np.empty((0, 4)) for n in range(20)]
        found = link(seen)
        assert len(found) == tracks
        if tracks == 1:
            np.testing.assert_allclose(found[0].boxes, boxes)


def test_people_who_pass_each_other_keep_their_tracks():
    right, left = straight(num_frames=30, top=50), straight(left=130, speed=-SPEED, num_frames=30, top=80)
    found = link([np.stack(pair) for pair in zip(right.boxes, left.boxes, strict=True)])
    np.testing.assert_allclose([track.boxes for track in found], [right.boxes, left.boxes])


# Windows


def test_a_window_holds_its_walker_all_the_time_and_the_sign_of_the_motion_is_the_label():
    for speed, label in ((SPEED, "walks right"), (-SPEED, "walks left")):
        track = straight(left=150, speed=speed, num_frames=31)
        clips = find_clips([track], 432, 576)
        assert [(clip.start, clip.motion) for clip in clips] == [(start, round(14 * speed)) for start in (0, 8, 16)]
        for clip in clips:
            boxes = track.boxes[clip.start :][:15] - np.tile([clip.left, clip.top], 2)
            assert boxes.min() >= 2
            assert boxes.max() <= 94
            assert CLASSES[clip.label(is_reversed=False)] == label
            assert CLASSES[clip.label(is_reversed=True)] != label
            assert list(clip.numbers) == list(range(clip.start, clip.start + 15, 2))


@pytest.mark.parametrize(
    ("tracks", "num_clips"),
    [
        ([straight()], 1),
        ([straight(num_frames=14)], 0),
        ([straight(speed=1.0)], 0),
        ([straight(speed=5.5)], 0),
        ([straight(left=0.0)], 0),
        ([straight(top=1.0)], 0),
        ([straight(), straight(left=58, top=55)], 1),
        ([straight(), straight(left=95, speed=-SPEED, top=55)], 0),
        ([straight(), straight(left=300, speed=-SPEED)], 2),
        ([straight(start=490)], 0),
        ([straight(start=485)], 1),
        ([straight(start=500)], 1),
    ],
    ids=["fits", "short", "stands", "runs", "left", "top", "couple", "crossed", "apart", "both", "train", "val"],
)
def test_windows_that_are_left_out(tracks, num_clips):
    """`both`: a clip of the training that would show frames of the test."""
    clips = find_clips(tracks, 432, 576)
    assert len(clips) == num_clips
    assert all(clip.split == ("train" if clip.start < 500 else "val") for clip in clips)


# Files


def test_clips_of_a_split_are_forward_and_reversed_with_the_other_label(root):
    videos = walking(root, "train")
    assert videos.classes == CLASSES
    assert len(videos) > 0
    for (path, info), (twin, other) in zip(videos.samples[::2], videos.samples[1::2], strict=True):
        assert (Path(path).parent.name, Path(twin).parent.name) == (CLASSES[info["label"]], CLASSES[other["label"]])
        assert {info["label"], other["label"]} == {0, 1}
        assert Path(twin).name == Path(path).name.replace("forward", "reversed")
        with SparseVideo(path, threads=1) as one, SparseVideo(twin, threads=1) as two:
            assert (one.num_frames, one.average_rate, list(one.keyframes)) == (8, 5, list(range(8)))
            frames, backwards = one.frames_at(range(8)), two.frames_at(range(7, -1, -1))
        assert frames.shape == (8, 3, 96, 96)
        assert (frames.float() - backwards.float()).abs().mean() < 8


def test_the_walker_goes_where_the_label_says_in_the_middle_of_the_window(root):
    for path, info in walking(root, "train").samples + walking(root, "val").samples:
        with SparseVideo(path, threads=1) as video:
            dark = (video.frames_at(range(8)).float().mean(dim=1) < 80).float()
        columns = (dark.sum(dim=1) * torch.arange(96)).sum(dim=1) / dark.sum(dim=(1, 2))
        assert torch.sign(columns.diff()).unique().tolist() == [
            1.0 if CLASSES[info["label"]] == "walks right" else -1.0
        ]
        assert abs(float(columns.mean()) - 47.5) < 4


def test_frames_are_exactly_those_of_the_video_that_was_cut(root):
    videos, pictures = walking(root, "val", frames=True), walk()
    clips = [clip for clip in clips_in(root) if clip.split == "val"]
    assert [label["label"] for _, label in videos.samples] == [
        clip.label(back) for clip in clips for back in (False, True)
    ]
    for clip, (path, _), (twin, _) in zip(clips, videos.samples[::2], videos.samples[1::2], strict=True):
        window = pictures[list(clip.numbers), clip.top : clip.top + 96, clip.left : clip.left + 96]
        assert np.array_equal(np.load(path), window.transpose(0, 3, 1, 2))
        assert np.array_equal(np.load(path)[::-1], np.load(twin))


def test_splits_share_neither_tracks_nor_frames(root):
    clips = clips_in(root)
    train, val = ([clip for clip in clips if clip.split == split] for split in ("train", "val"))
    assert train
    assert val
    assert not {clip.track for clip in train} & {clip.track for clip in val}
    assert max(clip.numbers[-1] for clip in train) < min(clip.start for clip in val)


def test_clips_are_cut_once_and_alike_everywhere(root, source, tmp_path):
    """Broken off, they are cut again: the list is written last."""
    again = tmp_path
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr("pv_sparse.study.walking.write_video", fail)
        with pytest.raises(OSError, match="disk full"):
            make(again, source)
    make(again, source)
    files = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert all((root / name).read_bytes() == (again / name).read_bytes() for name in files)
    assert walking(again, "val", again / "gone.avi").samples == walking(again, "val").samples


# Errors


@pytest.mark.parametrize("given", [None, "nowhere/vtest.avi"])
def test_a_missing_source_is_told_with_where_it_is_found(given, tmp_path):
    told = f"source={given} is no file.*vtest.avi is in Debian's package opencv-doc"
    with pytest.raises(PvSparseError, match=told):
        walking(tmp_path, "train", given)


def test_a_source_that_is_no_video_is_named(tmp_path):
    wrong = tmp_path / "vtest.avi"
    wrong.write_text("no video")
    with pytest.raises(PvSparseError, match=r"vtest\.avi: "):
        walking(tmp_path / "data", "train", wrong)


def test_a_source_where_nobody_walks_is_told(source, tmp_path):
    with pytest.raises(PvSparseError, match="shows nobody who walks in its part val"):
        make(tmp_path, source, first_of_val=56)


def test_an_unknown_split_is_told(tmp_path):
    with pytest.raises(ValueError, match="split='test' is unknown: choose one of train, val"):
        walking(tmp_path, "test")


def test_without_opencv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "pv-sparse\[study\]"'):
        find_tracks(walk(num_frames=2))


# The experiment


@pytest.mark.slow
def test_the_experiment_pools_to_the_grid_that_a_variant_names(root):
    experiment = read_experiment("study_grid")
    overrides = ["experiment=study_grid", f"data.root={root}"]
    for combination in experiment.combinations():
        given = [*experiment.models[combination.model].train, *combination.variant.train]
        head = build(compose("train", [*overrides, *given]).config).model.head
        if combination.model == "trn_multi_scale":
            assert "x".join(map(str, head.grid)) == combination.variant.name


# With the real file


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    path = os.environ.get("PV_SPARSE_VTEST")
    if not path:
        pytest.skip("PV_SPARSE_VTEST does not name OpenCV's vtest.avi")
    root = tmp_path_factory.mktemp("walking")
    walking(root, "train", path)
    return root


@pytest.mark.slow
def test_real_people(real):
    clips = clips_in(real)
    counts = Counter(clip.split for clip in clips)
    assert counts["train"] >= 60
    assert counts["val"] >= 35
    for split in counts:
        directions = Counter(clip.motion > 0 for clip in clips if clip.split == split)
        assert min(directions.values()) >= 0.3 * counts[split]
        labels = Counter(info["label"] for _, info in walking(real, split).samples)
        assert labels[0] == labels[1] == counts[split]
    assert len({clip.track for clip in clips if clip.split == "val"}) >= 15


@pytest.mark.slow
@pytest.mark.parametrize("quiet", [pytest.param(None, marks=quiet_lightning)])
@pytest.mark.parametrize(
    ("overrides", "least", "most"),
    [(["model=tsn_tiny", "input.num_segments=8"], 0.5, 0.5), (["model.grid=[1,5]"], 0.95, 1.0)],
    ids=["tsn", "grid"],
)
def test_a_grid_tells_which_way_real_people_walk_and_an_average_does_not(real, tmp_path, overrides, least, most, quiet):
    settings = ["experiment=study_grid", f"data.root={real}", f"out={tmp_path}", "trainer.accelerator=cpu"]
    figures = train(compose("train", [*settings, *overrides]).config)
    assert least <= figures["top1"] <= most
