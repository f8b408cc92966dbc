"""Score files: averages over views, figures, files that come back as they were, and late fusion by hand."""

import itertools
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pv_sparse import PvSparseError
from pv_sparse.models.fusion import LateFusion
from pv_sparse.recipes.fusing import fuse, write_fusion
from pv_sparse.recipes.scores import Scores, TaskScores, as_scores, average_views
from pv_sparse.whole_files import whole_file

CLASSES = ("walk", "run", "jump")
PATHS = ("a.mp4", "b.mp4", "c.mp4", "d.mp4")
LABELS = (0, 2, 1, 1)


def task_scores(logits, labels, classes=CLASSES, average="logits", multi_label=False) -> TaskScores:
    scores = average_views(torch.from_numpy(logits), average, multi_label)
    return TaskScores(logits, scores.numpy(), np.array(labels), classes)


def made(seed: int = 0, views: int = 2, paths=PATHS, labels=LABELS, **about) -> Scores:
    """Scores of random logits: of a video the same in whatever order."""
    logits = np.stack(
        [np.random.default_rng([seed, *path.encode()]).normal(size=(views, len(CLASSES))) for path in paths], axis=1
    )
    given = {"failed": {}, "weights": f"net{seed}", "protocol": "one_view", "average": "logits"} | about
    return Scores(paths, {"": task_scores(logits.astype(np.float32), labels)}, **given)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(np.asarray(logits, dtype=np.float64))
    return powers / powers.sum(axis=-1, keepdims=True)


# Views


def test_logits_are_averaged_before_softmax_and_scores_after():
    logits = torch.tensor([[[4.0, 0.0]], [[0.0, 2.0]]])  # 2 views of 1 video
    by_logits, by_scores = average_views(logits, "logits"), average_views(logits, "scores")
    np.testing.assert_allclose(by_logits, softmax([[2.0, 1.0]]), rtol=1e-6)
    np.testing.assert_allclose(by_scores, (softmax([[4.0, 0.0]]) + softmax([[0.0, 2.0]])) / 2, rtol=1e-6)
    assert by_logits.dtype == by_scores.dtype == torch.float32


def test_where_several_classes_can_be_right_scores_are_sigmoids():
    logits = torch.tensor([[[4.0, 0.0]], [[0.0, 2.0]]])
    np.testing.assert_allclose(average_views(logits, "logits", True), 1 / (1 + np.exp([[-2.0, -1.0]])), rtol=1e-6)
    by_scores = (1 / (1 + np.exp([[-4.0, 0.0]])) + 1 / (1 + np.exp([[0.0, -2.0]]))) / 2
    np.testing.assert_allclose(average_views(logits, "scores", True), by_scores, rtol=1e-6)


def test_an_unknown_average_is_told():
    with pytest.raises(ValueError, match="average='max' is unknown: choose one of logits, scores"):
        average_views(torch.zeros(1, 1, 2), "max")


# Figures


def test_figures_are_of_the_videos_with_labels():
    logits = np.log(np.array([[[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]]], dtype=np.float32))
    scores = replace(made(), tasks={"": task_scores(logits, [0, -1, 1, 1])})
    assert scores.metrics() == pytest.approx({"top1": 2 / 3, "top5": 1.0, "mean_class_accuracy": 0.75})


def test_figures_of_several_tasks_go_by_their_names():
    one, other = np.eye(2, dtype=np.float32)[None], np.eye(2, dtype=np.float32)[None, ::-1].copy()
    tasks = {"verb": task_scores(one, [0, 1], ("open", "shut")), "noun": task_scores(other, [1, 1], ("tap", "cup"))}
    figures = replace(made(), paths=PATHS[:2], tasks=tasks).metrics()
    assert (figures["verb/top1"], figures["noun/top1"], figures["top1"]) == (1.0, 0.5, 0.5)


def test_without_labels_there_are_no_figures():
    assert made(labels=[-1] * 4).metrics() == {}


# Files


def assert_same(first: Scores, second: Scores) -> None:
    for name in ("paths", "failed", "weights", "protocol", "average", "multi_label"):
        assert getattr(first, name) == getattr(second, name)
    assert first.tasks.keys() == second.tasks.keys()
    for task in first.tasks:
        assert first.tasks[task].classes == second.tasks[task].classes
        for name in ("logits", "scores", "labels"):
            one, other = getattr(first.tasks[task], name), getattr(second.tasks[task], name)
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


def test_a_file_comes_back_as_it_was(tmp_path):
    scores = made(failed={"x.mp4": "x.mp4: the file is empty"}, multi_label=True)
    scores.save(tmp_path / "scores.npz")
    assert_same(Scores.read(tmp_path / "scores.npz"), scores)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.npz"]


def test_several_tasks_and_names_that_are_no_text_come_back(tmp_path):
    own = made().tasks[""]
    strange = os.fsdecode(b"caf\xe9.mp4")
    scores = replace(made(), paths=(strange, *PATHS[1:]), tasks={"verb": own, "noun": own})
    scores.save(tmp_path / "scores.npz")
    assert_same(Scores.read(tmp_path / "scores.npz"), scores)


def test_numpy_alone_reads_it(tmp_path):
    made().save(tmp_path / "scores.npz")
    with np.load(tmp_path / "scores.npz", allow_pickle=False) as arrays:
        assert arrays["logits"].shape == (2, 4, 3)
        assert arrays["paths"].tolist() == list(PATHS)
        assert arrays["classes"].tolist() == list(CLASSES)
        np.testing.assert_allclose(arrays["scores"], softmax(arrays["logits"].mean(axis=0)), rtol=1e-5)


def test_files_that_are_none_are_told(tmp_path):
    text, array, others, cut = (tmp_path / name for name in ("a.npz", "b.npz", "c.npz", "d.npz"))
    text.write_text("scores")
    with array.open("wb") as file:
        np.save(file, np.zeros(3))
    np.savez(others, x=np.zeros(3))
    made().save(cut)
    cut.write_bytes(cut.read_bytes()[:-200])
    for path, told in ((text, "is not a scores.npz"), (array, "is not a scores.npz"), (cut, "or is damaged")):
        with pytest.raises(PvSparseError, match=told):
            Scores.read(path)
    with pytest.raises(PvSparseError, match="it holds arrays, but no scores"):
        Scores.read(others)
    with pytest.raises(FileNotFoundError):
        Scores.read(tmp_path / "none.npz")


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), whole_file(path) as file:
        file.write("text, not bytes")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# Fusion


def test_raw_scores_are_weighted_as_tsn_does():
    rgb, flow = made(1), made(2, views=3)
    fused = fuse([rgb, flow], weights=[1, 1.5])
    expected = (rgb.tasks[""].logits.mean(axis=0) + 1.5 * flow.tasks[""].logits.mean(axis=0)) / 2.5
    np.testing.assert_allclose(fused.tasks[""].logits, expected[None], rtol=1e-5)
    np.testing.assert_allclose(fused.tasks[""].scores, softmax(expected), rtol=1e-5)
    assert (fused.paths, fused.weights, fused.protocol) == (PATHS, "1 x net1 + 1.5 x net2", "one_view")
    np.testing.assert_array_equal(fused.tasks[""].labels, LABELS)


def test_scores_are_averaged_as_in_ecos_ensemble():
    files = [made(seed) for seed in (1, 2, 3)]
    fused = fuse(files, on="scores")
    expected = np.mean([file.tasks[""].scores for file in files], axis=0)
    np.testing.assert_allclose(fused.tasks[""].scores, expected, rtol=1e-5)
    np.testing.assert_allclose(softmax(fused.tasks[""].logits[0]), expected, rtol=1e-5)


@pytest.mark.parametrize("on", ["logits", "scores"])
def test_fused_files_say_what_fused_models_say(on):
    files = {"rgb": made(1, views=1), "flow": made(2, views=1)}
    model = LateFusion({name: nn.Identity() for name in files}, {"rgb": 1.0, "flow": 1.5}, fuse=on)
    expected = model({name: torch.from_numpy(file.tasks[""].logits[0]) for name, file in files.items()}).softmax(1)
    got = fuse([*files.values()], weights=[1, 1.5], on=on)
    np.testing.assert_allclose(got.tasks[""].scores, expected, rtol=1e-5)


def test_scores_that_are_certain_have_finite_logits():
    certain = np.eye(4, 3)
    files = [
        replace(made(), multi_label=multi_label, tasks={"": TaskScores(np.eye(4, 3)[None], certain, labels, CLASSES)})
        for multi_label, labels in ((False, np.array(LABELS)), (True, np.zeros((4, 3), np.int8)))
    ]
    for file in files:
        fused = fuse([file, file], on="scores").tasks[""]
        assert np.isfinite(fused.logits).all()
        again = as_scores(torch.from_numpy(fused.logits[0]).double(), file.multi_label)
        np.testing.assert_allclose(again[:3], certain[:3], atol=1e-6)


def test_videos_are_matched_by_path_whatever_their_order(tmp_path):
    order = [2, 0, 3, 1]
    shuffled = made(2, paths=tuple(PATHS[n] for n in order), labels=[LABELS[n] for n in order])
    for name, scores in (("one", made(1)), ("other", shuffled)):
        scores.save(tmp_path / f"{name}.npz")
    fused = fuse([tmp_path / "one.npz", tmp_path / "other.npz"])
    assert_same(fused, fuse([made(1), made(2)]))


def test_a_video_that_is_listed_twice_is_matched_in_order():
    paths = ("a.mp4", "b.mp4", "a.mp4")
    one, other = made(1, paths=paths, labels=[0, 1, 2]), made(2, paths=paths, labels=[0, 1, 2])
    assert fuse([one, other]).tasks[""].labels.tolist() == [0, 1, 2]


def test_what_failed_in_one_file_is_left_out_and_told():
    whole, rest = made(1), made(2, paths=PATHS[1:], labels=LABELS[1:], failed={"a.mp4": "a.mp4: cut off"})
    for pair in itertools.permutations([whole, rest]):
        fused = fuse(pair)
        assert fused.paths == PATHS[1:]
        assert fused.failed == {"a.mp4": "a.mp4: cut off"}
        np.testing.assert_array_equal(fused.tasks[""].scores, fuse([whole, made(2)]).tasks[""].scores[1:])


def test_a_fused_file_can_be_fused_again():
    both = fuse([made(1), made(2)])
    all_three = fuse([both, made(3)], weights=[2, 1])
    np.testing.assert_allclose(
        all_three.tasks[""].scores, fuse([made(1), made(2), made(3)]).tasks[""].scores, rtol=1e-5
    )


def test_each_task_is_fused():
    tasks = [{name: made(seed).tasks[""] for name in ("verb", "noun")} for seed in (1, 2)]
    files = [replace(made(seed), tasks=own) for seed, own in zip((1, 2), tasks, strict=True)]
    fused = fuse(files)
    np.testing.assert_array_equal(fused.tasks["noun"].scores, fuse([made(1), made(2)]).tasks[""].scores)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (made(2, paths=PATHS[:2], labels=LABELS[:2]), r"2 videos of scores 1 are not in scores 2, the first is c\.mp4"),
        (made(2, paths=("e.mp4", *PATHS), labels=(0, *LABELS)), r"1 videos of scores 2 .* the first is e\.mp4"),
        (made(2, labels=(0, 1, 1, 0)), r"labels of 2 of 4 videos differ .* the first is b\.mp4"),
        (replace(made(), tasks={"verb": made().tasks[""]}), "scores 2 has scores of other tasks than scores 1"),
        (
            replace(made(), tasks={"": replace(made().tasks[""], classes=("walk", "hop", "jump"))}),
            "1 of 3 classes differ between scores 1 and scores 2, the first is number 1, 'run' and 'hop'",
        ),
        (replace(made(), tasks={"": replace(made().tasks[""], classes=("walk", "hop"))}), "2 classes, scores 1 of 3"),
    ],
)
def test_files_that_differ_are_told(other, told):
    with pytest.raises(PvSparseError, match=told):
        fuse([made(1), other])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"weights": [1]}, r"weights=\[1\.0\] do not fit 2 score files"),
        ({"weights": [1, 0]}, "give a number above 0 for each"),
        ({"weights": [1, float("nan")]}, "give a number above 0 for each"),
        ({"on": "votes"}, "on='votes' is unknown: choose one of scores, logits"),
    ],
)
def test_arguments_that_do_not_fit_are_told(arguments, told):
    with pytest.raises(ValueError, match=told):
        fuse([made(1), made(2)], **arguments)


def test_one_file_is_not_fused():
    with pytest.raises(ValueError, match="1 score file was given: fusion takes two or more"):
        fuse([made(1)])


def test_nothing_left_is_told():
    one, other = made(1, paths=PATHS[:1], labels=[0]), made(2, paths=PATHS[1:2], labels=[0])
    one, other = replace(one, failed={"b.mp4": "gone"}), replace(other, failed={"a.mp4": "gone"})
    with pytest.raises(PvSparseError, match="no video was read in all of the score files"):
        fuse([one, other])


def test_a_fusion_is_written_once(tmp_path):
    fused = fuse([made(1, failed={"x.mp4": "gone"}), made(2)], weights=[1, 1.5])
    out = tmp_path / "deep" / "out"
    write_fusion(fused, out, ["rgb/scores.npz", "flow/scores.npz"], [1, 1.5])
    assert_same(Scores.read(out / "scores.npz"), fused)
    assert len((out / "results.jsonl").read_text().splitlines()) == 5
    with pytest.raises(PvSparseError, match="holds another evaluation"):
        write_fusion(fused, out, [], None)
