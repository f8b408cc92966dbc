"""Generated untrimmed videos: the event lies where the list says, and nothing else tells the class."""

from collections import Counter
from contextlib import contextmanager
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch

from pv_sparse import SegmentClipSampler, SparseVideo, SparseVideoDataset
from pv_sparse.study import appearance20, generated, order20, untrimmed
from pv_sparse.study.making import DATA_SETS, make
from pv_sparse.study.scenes import SIZE
from pv_sparse.study.untrimmed import MARGIN, RATE, Plan, Stage, plan_of

NAMES = ("untrimmed_appearance", "untrimmed_order")
# A short plan of each kind: 12 s, of which the event takes 2.
PLANS = {has_cut: Plan(60, 20, 30, has_cut) for has_cut in (True, False)}


def plans(count, num_kinds=20):
    return [plan_of(num_kinds, scene, np.random.default_rng([scene, 3])) for scene in range(count)]


def pictures(plan, draw_event=order20.EVENTS[0], seed=0, is_backwards=False):
    return np.stack(list(untrimmed.film(plan, draw_event, seed, is_backwards)))


def nothing(random):
    """An event that is not to be seen."""
    return lambda picture, progress: None


def stages_of(plan, seed=0):
    """Of each frame, the scene that it shows."""
    return [stage for stage, _ in untrimmed._stages(plan, np.random.default_rng(seed))]


# Plans


def test_events_take_three_to_ten_percent_of_one_to_four_minutes():
    drawn = plans(400)
    seconds = np.array([plan.num_frames / RATE for plan in drawn])
    shares = np.array([(plan.end - plan.begin) / plan.num_frames for plan in drawn])
    places = np.array([plan.begin / (plan.num_frames - plan.end + plan.begin) for plan in drawn])
    for values, low, high in ((seconds, 60, 240), (shares, 0.03, 0.1), (places, 0, 1)):
        assert low <= values.min()
        assert values.max() <= high
        # Evenly drawn: the mean, and as many in every quarter.
        assert abs(values.mean() - (low + high) / 2) < 0.1 * (high - low)
        assert np.abs(np.histogram(values, 4, (low, high))[0] / len(values) - 0.25).max() < 0.08
    assert min(min(plan.begin, plan.num_frames - plan.end) for plan in drawn) >= MARGIN


@pytest.mark.parametrize(("num_kinds", "count"), [(20, 200), (20, 150), (10, 100), (10, 75)])
def test_half_of_the_events_of_each_kind_have_no_cut(num_kinds, count):
    cuts = [plan.has_cut for plan in plans(count, num_kinds)]
    assert abs(sum(cuts) - count / 2) <= 1
    for kind in range(num_kinds):
        own = cuts[kind::num_kinds]
        assert abs(sum(own) - len(own) / 2) <= 1


@pytest.mark.parametrize("has_cut", [True, False])
def test_an_event_begins_with_a_cut_or_far_from_one(has_cut):
    drawn = [plan for plan in plans(24) if plan.has_cut is has_cut]
    for seed, plan in enumerate(drawn):
        shown = stages_of(plan, seed)
        assert len(shown) == plan.num_frames
        own = set(shown[plan.begin : plan.end])
        assert len(own) == 1
        if has_cut:
            assert own.isdisjoint(shown[: plan.begin] + shown[plan.end :])
        else:
            assert set(shown[plan.begin - MARGIN : plan.end + MARGIN]) == own


def test_scenes_last_five_to_twenty_seconds():
    for seed, plan in enumerate(plans(8)):
        shown = stages_of(plan, seed)
        event, last = shown[plan.begin], shown[-1]
        # The last is cut off by the end; that of the event is as long as the event, or longer by it.
        lengths = [length for stage, length in Counter(shown).items() if stage not in (event, last)]
        assert len(lengths) >= 1
        assert 5 * RATE <= min(lengths) <= max(lengths) <= 20 * RATE


# Pictures


@pytest.mark.parametrize(("has_cut", "event"), list(product([True, False], [0, 5, 9])))
def test_twins_differ_in_the_event_alone(has_cut, event):
    plan = PLANS[has_cut]
    forwards, backwards = (pictures(plan, order20.EVENTS[event], 4, is_backwards) for is_backwards in (False, True))
    assert (forwards.shape, forwards.dtype) == ((60, SIZE, SIZE, 3), np.uint8)
    differs = (forwards != backwards).any(axis=(1, 2, 3))
    assert not differs[: plan.begin].any()
    assert not differs[plan.end :].any()
    assert differs[plan.begin : plan.end].sum() >= 6


def test_a_twin_is_the_event_backwards():
    """What is painted at each time of the event is painted as long before its end."""
    seen = {}
    for is_backwards in (False, True):
        progress = seen.setdefault(is_backwards, [])
        event = lambda random: lambda picture, at: progress.append(at)  # noqa: B023, E731
        pictures(PLANS[True], event, 2, is_backwards)
    assert seen[True] == pytest.approx(seen[False][::-1])
    assert seen[False] == sorted(seen[False])
    assert (seen[False][0], seen[False][-1], len(seen[False])) == (0, 1, 10)


@pytest.mark.parametrize("has_cut", [True, False])
def test_around_the_event_the_video_is_as_without_it(has_cut):
    plan = PLANS[has_cut]
    painted = pictures(plan, lambda random: lambda picture, progress: picture.fill(255))
    differs = (painted != pictures(plan, nothing)).any(axis=(1, 2, 3))
    assert np.flatnonzero(differs).tolist() == list(range(plan.begin, plan.end))


def test_neutral_things_move_and_are_dull():
    for seed, shape in enumerate(untrimmed.NEUTRAL * 4):
        paint_thing = untrimmed.neutral_thing(shape, np.random.default_rng(seed))
        grounds = [np.zeros((SIZE, SIZE, 3), np.float32) for _ in range(3)]
        for picture, seconds in zip(grounds, (0, 2, 4), strict=True):
            paint_thing(picture, seconds)
            seen = picture[picture.max(axis=2) > 0.9 * picture.max()]
            assert len(seen) > 60
            assert np.ptp(seen, axis=1).max() < 45
            assert 40 < seen.mean() < 180
        assert all((np.abs(one - other).max(axis=2) > 30).sum() > 20 for one, other in pairwise(grounds))


def test_something_moves_in_every_scene():
    for seed in range(10):
        stage = Stage(np.random.default_rng(seed), 50)
        first, later = stage.below(0), stage.below(10)
        assert (np.abs(first - later).max(axis=2) > 10).sum() > 20
        assert np.array_equal(first, stage.below(0))


# Files


@contextmanager
def short():
    """Videos that are made are of 10 to 12 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(untrimmed, "LENGTHS", (10, 12))
        patch.setattr(untrimmed, "SCENE_LENGTHS", (2.0, 3.0))
        yield


@pytest.fixture(scope="module")
def short_videos(tmp_path_factory):
    """Lists of two videos each."""
    with short():
        roots = {name: tmp_path_factory.mktemp(name) for name in NAMES}
        return roots, {name: getattr(generated, name)(roots[name], "train", 2) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_lists_tell_where_the_event_lies(short_videos, name):
    videos = short_videos[1][name]
    assert videos.classes == (order20 if name == "untrimmed_order" else appearance20).CLASSES
    assert [info["label"] for _, info in videos.samples] == [0, 1]
    for path, info in videos.samples:
        start, end = info["event_seconds"]
        with SparseVideo(path, threads=1) as video:
            assert 50 <= video.num_frames <= 60
            assert (video.height, video.width, video.average_rate, video.codec) == (SIZE, SIZE, RATE, "h264")
            assert max(np.diff([*video.keyframes, video.num_frames])) <= 12
            assert 0 < start < end < video.num_frames / RATE
            assert 0.03 <= (end - start) * RATE / video.num_frames <= 0.1 + 1e-9


def test_the_event_is_where_the_list_says(short_videos):
    """Of twins, which differ nowhere else."""
    (forwards, info), (backwards, other) = short_videos[1]["untrimmed_order"].samples
    assert info["event_seconds"] == other["event_seconds"]
    with SparseVideo(forwards, threads=1) as one, SparseVideo(backwards, threads=1) as two:
        every = range(one.num_frames)
        difference = (one.frames_at(every).float() - two.frames_at(every).float()).abs().mean(dim=(1, 2, 3))
        inside = (one.frame_times_seconds >= info["event_seconds"][0] - 1e-6) & (
            one.frame_times_seconds < info["event_seconds"][1] - 1e-6
        )
    assert difference[inside].max() > 3 * difference[~inside].max()


def test_samples_carry_the_place(short_videos):
    videos = short_videos[1]["untrimmed_appearance"]
    dataset = SparseVideoDataset(videos, SegmentClipSampler(8), dtype="uint8", size=64)
    batch = torch.utils.data.default_collate([dataset[0], dataset[1]])
    assert torch.stack(batch["event_seconds"], dim=1).tolist() == [
        pytest.approx(info["event_seconds"]) for _, info in videos.samples
    ]


def test_files_are_the_same_whoever_makes_them(short_videos, tmp_path):
    roots, lists = short_videos
    with short():
        make(NAMES[1], tmp_path, splits={"train": 2})
        again = [tmp_path / Path(path).relative_to(roots[NAMES[1]]) for path, _ in lists[NAMES[1]].samples]
        for path, (there, _) in zip(again, lists[NAMES[1]].samples, strict=True):
            assert path.read_bytes() == Path(there).read_bytes()
        # One twin that is missing is made again, and the other left.
        lost, kept = again
        before = lost.read_bytes(), kept.stat().st_mtime_ns
        lost.unlink()
        make(NAMES[1], tmp_path, splits={"train": 2})
        assert (lost.read_bytes(), kept.stat().st_mtime_ns) == before


def test_other_seeds_splits_and_scenes_are_others():
    keys = ((0, "train", 0), (1, "train", 0), (0, "val", 0), (0, "train", 20))
    drawn = {(*map(tuple, found.infos[0].items()),) for found in (scene(*key) for key in keys)}
    assert len(drawn) == len(keys)


def scene(seed, split, number):
    return generated.Scene(DATA_SETS["untrimmed_appearance"], Path("there"), split, number, seed)


@pytest.mark.slow
def test_processes_make_what_one_makes(tmp_path):
    for jobs in (1, 2):
        make("untrimmed_order", tmp_path / str(jobs), jobs=jobs, splits={"train": 4})
    made = sorted((tmp_path / "1").rglob("*.mp4"))
    assert len(made) == 4
    for path in made:
        assert (tmp_path / "2" / path.relative_to(tmp_path / "1")).read_bytes() == path.read_bytes()
        with SparseVideo(path, threads=1) as video:
            assert 300 <= video.num_frames <= 1200
