"""Batches: their order, their parts for several processes, their labels; and lists that do not fit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from index_video import read_numbers, write_index_video

from pv_sparse import (
    PvSparseError,
    SegmentClipSampler,
    SparseVideoDataset,
    VideoList,
    create_trn,
    create_tsn,
    get_weights,
    list_weights,
)
from pv_sparse.data.selectors import Diverse
from pv_sparse.recipes.batches import EpochBatches, EvaluationPart, TrainLoader
from pv_sparse.recipes.classes import count_classes, find_classes
from pv_sparse.recipes.data import VideoDataModule
from pv_sparse.recipes.inputs import ClipInput
from pv_sparse.transforms import NormalizeClip


def dataset_of(count: int) -> SparseVideoDataset:
    return SparseVideoDataset([(f"{n}.mp4", {"label": n}) for n in range(count)], SegmentClipSampler(1))


def parts(count, batch_size, world_size, done=0, **arguments):
    """The batches of every process from there on."""
    return [
        list(
            EpochBatches(
                dataset_of(count), batch_size, batches_done=lambda: done, rank=rank, world_size=world_size, **arguments
            )
        )
        for rank in range(world_size)
    ]


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 3), st.booleans(), st.integers(0, 3))
def test_every_process_has_as_many_batches_and_together_they_see_all(count, batch_size, world_size, drop_last, epoch):
    dataset = dataset_of(count)
    length = len(EpochBatches(dataset, batch_size, world_size=world_size, drop_last=drop_last))
    of_all = parts(count, batch_size, world_size, epoch * length, drop_last=drop_last)
    assert {len(batches) for batches in of_all} == {length}
    for together in zip(*of_all, strict=True):
        assert len({len(batch) for batch in together}) == 1
    seen = [number for batches in of_all for batch in batches for number in batch]
    if drop_last and count >= batch_size * world_size:
        assert len(seen) == len(set(seen)) == length * batch_size * world_size
    else:
        assert set(seen) == set(range(count))


@given(st.integers(2, 30), st.integers(1, 4), st.integers(0, 40))
def test_an_iterator_begins_where_the_run_was_broken_off(count, batch_size, done):
    [batches] = parts(count, batch_size, 1)
    epoch, start = divmod(done, len(batches))
    [whole] = parts(count, batch_size, 1, epoch * len(batches))
    assert parts(count, batch_size, 1, done) == [whole[start:]]


def test_two_processes_see_the_batches_of_one_that_has_twice_as_many():
    [one] = parts(12, 4, 1)
    two = parts(12, 2, 2)
    assert [first + second for first, second in zip(*two, strict=True)] == one


def test_epochs_differ_and_are_told_to_the_data():
    dataset = dataset_of(20)
    done = [0]
    batches = EpochBatches(dataset, 5, batches_done=lambda: done[0])
    first = list(batches)
    done[0] = 4
    assert list(batches) != first
    assert int(dataset._epoch) == 1
    assert list(EpochBatches(dataset, 5, seed=1)) != first


def test_every_process_evaluates_as_many():
    assert [list(EvaluationPart(dataset_of(5), rank, 2)) for rank in range(2)] == [[0, 2, 4], [1, 3, 0]]
    assert [list(EvaluationPart(dataset_of(1), rank, 3)) for rank in range(3)] == [[0], [0], [0]]


def test_a_run_with_other_batches_is_refused():
    loader = TrainLoader(dataset_of(8), batch_sampler=EpochBatches(dataset_of(8), 2))
    loader.load_state_dict({"batches_per_epoch": 4})
    with pytest.raises(PvSparseError, match=r"had 5 batches in an epoch, and would have 4 now: go on with the same"):
        loader.load_state_dict({"batches_per_epoch": 5})
    with pytest.raises(ValueError, match="batch_size=0 is not allowed"):
        EpochBatches(dataset_of(8), 0)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return [str(write_index_video(folder / f"{n}.mp4", 20 + n)) for n in range(4)]


CLIPS = ClipInput(num_segments=4, size=64, resize=64, flip_probability=0, scales=(1,), num_positions=5)


def labelled(videos, labels, classes=()):
    return VideoList([(path, {"label": label}) for path, label in zip(videos, labels, strict=True)], classes)


def test_batches_of_one_task(videos):
    listed = labelled(videos, [0, 1, 0, 1], ("left", "right"))
    data = VideoDataModule(listed, listed, clips=CLIPS, batch_size=2, num_workers=0)
    batch = next(iter(data.train_dataloader()))
    assert batch["video"].shape == (2, 3, 4, 64, 64)
    assert batch["video"].dtype == torch.float32
    assert sorted(batch) == ["label", "requested_index", "video", "video_index"]
    assert [labels.tolist() for labels in (b["label"] for b in data.val_dataloader())] == [[0, 1], [0, 1]]
    assert data.classes == ("left", "right")
    assert (data.num_classes, data.multi_label) == (2, False)


def test_batches_of_several_tasks_and_of_several_right_classes(videos):
    listed = labelled(videos, [{"verb": n, "noun": 0} for n in range(4)])
    data = VideoDataModule(listed, listed, clips=CLIPS, batch_size=4, num_workers=0)
    batch = next(iter(data.val_dataloader()))
    assert {task: labels.tolist() for task, labels in batch["label"].items()} == {"verb": [0, 1, 2, 3], "noun": [0] * 4}
    assert data.classes == {"verb": ("0", "1", "2", "3"), "noun": ("0",)}
    listed = labelled(videos, [[0, 2], [], [1], [2]])
    data = VideoDataModule(listed, listed, clips=CLIPS, batch_size=4, num_workers=0)
    assert next(iter(data.val_dataloader()))["label"].tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert data.multi_label


def test_labels_follow_their_names_into_another_order(videos):
    """Those of each list on its own: one of them may lack a class."""
    train = labelled(videos, [0, 1, 2, 0], ("a", "b", "c"))
    val = labelled(videos[:2], [0, 1], ("b", "c"))
    data = VideoDataModule(train, val, clips=CLIPS, classes=["c", "b", "a"], batch_size=4, num_workers=0)
    assert data.classes == ("c", "b", "a")
    assert [info["label"] for _, info in data.lists["train"].samples] == [2, 1, 0, 2]
    assert next(iter(data.val_dataloader()))["label"].tolist() == [1, 0]
    with pytest.raises(PvSparseError, match="the list has the class 'c', which is not"):
        VideoDataModule(train, val, clips=CLIPS, classes=["a", "b"])


def test_a_file_that_cannot_be_read_is_replaced_and_told(videos, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    listed = labelled([*videos, str(bad)], [0, 1, 0, 1, 1])
    data = VideoDataModule(listed, listed, clips=CLIPS, batch_size=5, num_workers=0)
    batch = next(iter(data.val_dataloader()))
    assert batch["requested_index"].tolist() == [0, 1, 2, 3, 4]
    assert batch["video_index"][4] in (1, 3)
    assert list(data.failed_files()) == [str(bad)]


def test_frames_are_those_of_the_rules(videos):
    listed = labelled(videos[:1], [0])
    data = VideoDataModule(listed, listed, clips=CLIPS, batch_size=1, num_workers=0)
    raw = data.datasets["val"]
    raw.transform = None
    assert read_numbers(raw[0]["video"].transpose(0, 1)) == [2, 7, 12, 17]


ONE = VideoList([("a.mp4", {"label": 0})], ("run",))


@pytest.mark.parametrize(
    ("lists", "names", "words"),
    [
        ({"train": VideoList([]), "val": ONE}, None, "the train list has no videos"),
        ({"train": VideoList([("a.mp4", {})])}, None, "1 of 1 train videos have no label, such as a.mp4"),
        (
            {"train": VideoList([("a.mp4", {"label": 3})])},
            ["run", "sit"],
            "the label 3, and there are 2 classes, 0 to 1",
        ),
        (
            {"train": ONE, "val": VideoList([("b.mp4", {"label": 1})], ("run", "sit"))},
            None,
            r"val videos have other classes than the train videos \(2 in place of 1, with 'sit'\)",
        ),
        ({"train": ONE}, {"verb": ["run"]}, "of several tasks and the labels of one"),
        (
            {"train": VideoList([("a.mp4", {"label": {"verb": 4}})])},
            {"verb": ["run"]},
            "the label 4 of the task verb, and there are 1 classes",
        ),
        ({"train": VideoList([("a.mp4", {"label": {"verb": 0}})])}, {"noun": ["cup"]}, "for noun, and labels for verb"),
    ],
)
def test_lists_that_do_not_fit(lists, names, words):
    with pytest.raises(PvSparseError, match=words):
        find_classes(lists, names)


def test_numbers_stand_for_names():
    classes = find_classes({"train": VideoList([("a.mp4", {"label": 1}), ("b.mp4", {"label": 2})])})
    assert classes == ("0", "1", "2")
    assert count_classes(classes) == 3
    half_named = VideoList([("a.mp4", {"label": {"verb": 1, "noun": -1}})], {"verb": (), "noun": ("cup",)})
    assert find_classes({"train": half_named}) == {"verb": ("0", "1"), "noun": ("cup",)}
    assert count_classes({"verb": ("take",)}) == {"verb": 1}


def test_what_a_model_shows_of_its_input():
    trn = ClipInput.for_model(create_trn(num_classes=2, num_segments=4, backbone="tiny"), "tiny", {})
    assert (trn.num_segments, trn.normalization, trn.size, trn.resize) == (4, "imagenet", 224, 256)
    flow = create_tsn(num_classes=2, backbone="bn_inception", in_channels=2, frames_per_segment=5)
    shown = ClipInput.for_model(flow, "bn_inception", {"size": 112, "train_rule": None})
    assert (shown.modality, shown.frames_per_segment, shown.normalization) == ("flow", 5, "bn_inception_flow")
    assert (shown.num_segments, shown.size, shown.resize) == (8, 112, 128)
    difference = ClipInput.for_model(create_tsn(num_classes=2, backbone="tiny", frames_per_segment=5), "tiny", {})
    assert (difference.modality, difference.frames_per_segment) == ("rgbdiff", 6)


def test_what_weights_were_trained_on():
    lite = get_weights("tsn_efficientnet_lite0.in1k")
    clips = ClipInput.for_weights(lite, num_segments=4, size=112)
    assert (clips.normalization, clips.size, clips.resize, clips.num_segments) == ("efficientnet_lite", 112, 128, 4)
    record = clips.record(lite, ["a", "b"])
    assert record.categories == ("a", "b")
    assert record.sampling == {"num_segments": 4, "frames_per_segment": 1, "rule": "center"}
    assert (record.one_view, record.input["crop"], record.input["resize"]) == ({}, 112, 128)
    flow = ClipInput.for_weights(get_weights("tsn_r50_flow.mm0_k400_320p_1x1x3"))
    assert (flow.modality, flow.frames_per_segment, flow.normalization) == ("flow", 5, "mmaction2_flow")
    with pytest.raises(TypeError, match="num_segment"):
        ClipInput.for_weights(lite, num_segment=4)


def test_a_model_that_was_trained_on_chosen_frames_says_so():
    clips = ClipInput(num_segments=4, select="diverse")
    assert clips.sampler(training=True).select == clips.sampler(training=False).select == Diverse()
    record = clips.record(get_weights("tsn_efficientnet_lite0.in1k"), ["a", "b"])
    assert record.sampler().select == Diverse()
    with pytest.raises(ValueError, match="chooses its frames by the video itself: take those of its sampler"):
        record.indices(100)
    with pytest.raises(ValueError, match="select='salient' is unknown"):
        ClipInput(select="salient")


@pytest.mark.parametrize("name", [name for name in list_weights() if get_weights(name).family != "backbone"])
def test_every_record_makes_an_input_that_evaluates_as_it_says(name):
    weights = get_weights(name)
    clips = ClipInput.for_weights(weights)
    normalize = NormalizeClip(clips.normalization)
    assert weights.input["mean"] == pytest.approx(list(normalize.normalization.mean))
    assert (clips.size, clips.resize) == (weights.input["crop"], weights.input["resize"])


def test_what_a_model_cannot_take():
    trn = create_trn(num_classes=2, num_segments=4, backbone="tiny")
    with pytest.raises(ValueError, match=r"input.num_segments=8 does not fit the model, which is made for 4"):
        ClipInput.for_model(trn, "tiny", {"num_segments": 8})
    with pytest.raises(ValueError, match="modality='rbg' is unknown"):
        ClipInput(modality="rbg")
    with pytest.raises(ValueError, match="something_v3"):
        ClipInput(label_flips="something_v3").transform(training=True)


def test_differences_of_frames(videos):
    clips = ClipInput(num_segments=2, frames_per_segment=3, modality="rgbdiff", size=32, resize=32)
    listed = labelled(videos, [0, 1, 0, 1])
    data = VideoDataModule(listed, listed, clips=clips, batch_size=2, num_workers=0)
    assert next(iter(data.train_dataloader()))["video"].shape == (2, 3, 4, 32, 32)
    assert next(iter(data.val_dataloader()))["video"].shape == (2, 3, 4, 32, 32)
