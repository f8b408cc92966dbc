"""Figures of scores and labels, against small cases by hand and against plain loops."""

import math

import pytest
import torch

from pv_sparse.recipes.metrics import (
    ClassRow,
    all_metrics,
    average_precisions,
    best_classes,
    confusion_matrix,
    per_class,
    task_metrics,
    tasks_metrics,
)

# Predicted: 0, 1, 1, 2, 0, 0.
SCORES = torch.tensor(
    [[3.0, 1, 0], [0, 2, 1], [0, 5, 4], [0, 1, 2], [9, 1, 8], [7, 0, 0]],
)
LABELS = torch.tensor([0, 1, 2, 2, 2, -1])


def test_one_label_a_video():
    figures = task_metrics(SCORES, LABELS)
    assert figures == pytest.approx({"top1": 3 / 5, "top5": 1.0, "mean_class_accuracy": (1 + 1 + 1 / 3) / 3})
    assert all(type(value) is float for value in figures.values())


def test_top5_counts_the_five_highest_scores():
    scores = torch.arange(8.0).repeat(8, 1)  # Best: 7, 6, 5, 4, 3
    assert task_metrics(scores, torch.arange(8))["top5"] == 5 / 8
    assert task_metrics(scores, torch.arange(8))["top1"] == 1 / 8


def test_logits_and_probabilities_give_the_same():
    scores = torch.randn(50, 7)
    labels = torch.randint(7, (50,))
    assert task_metrics(scores, labels) == task_metrics(scores.softmax(1), labels)


def test_mean_class_accuracy_is_of_the_classes_that_occur():
    scores = torch.eye(4)[[0, 3, 1]]  # A class that is predicted and has no videos counts for nothing
    assert task_metrics(scores, torch.tensor([0, 0, 1]))["mean_class_accuracy"] == pytest.approx(0.75)


def test_equal_scores_go_to_the_first_class_everywhere():
    scores, labels = torch.zeros(6, 3), torch.tensor([0, 0, 0, 1, 2, 2])
    assert task_metrics(scores, labels)["top1"] == 0.5
    assert best_classes(scores, 5).tolist() == [[0, 1, 2]] * 6
    assert confusion_matrix(scores, labels).tolist() == [[3, 0, 0], [1, 0, 0], [2, 0, 0]]


def test_nothing_is_told_where_nothing_is_labelled():
    assert task_metrics(SCORES, torch.full((6,), -1)) == {}
    assert task_metrics(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)) == {}
    assert task_metrics(SCORES, torch.full((6, 3), -1), multi_label=True) == {}
    assert task_metrics(SCORES, torch.zeros(6, 3), multi_label=True) == {}


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.bool])
def test_several_labels_a_video(dtype):
    scores = torch.tensor([[0.9, 0.1, 0.5], [0.8, 0.9, 0.5], [0.7, 0.3, 0.5], [0.1, 0.2, 0.5]])
    labels = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]]).to(dtype)
    first, second = (1 / 1 + 2 / 3) / 2, 1.0
    assert average_precisions(scores, labels).tolist() == pytest.approx([first, second, math.nan], nan_ok=True)
    figures = task_metrics(scores, labels, multi_label=True)
    assert figures == pytest.approx({"map": (first + second) / 2, "weighted_map": (2 * first + 2 * second) / 4})


def test_average_precision_is_as_a_plain_loop_has_it():
    scores, labels = torch.randn(40, 5), (torch.rand(40, 5) < 0.3).long()
    expected = []
    for column in range(5):
        ranked = labels[scores[:, column].argsort(descending=True), column]
        places = ranked.nonzero()[:, 0] + 1
        expected.append(float((torch.arange(1, len(places) + 1) / places).mean()))
    assert average_precisions(scores, labels).tolist() == pytest.approx(expected, abs=1e-6)


def test_large_logits_keep_their_order():
    scores = torch.tensor([[1000.0], [900.0], [800.0]])  # A sigmoid would make them all 1
    labels = torch.tensor([[0], [1], [0]])
    assert average_precisions(scores, labels).tolist() == [0.5]


def test_videos_without_several_labels_are_left_out():
    scores, labels = torch.randn(20, 3), (torch.rand(20, 3) < 0.5).long()
    some = torch.cat([labels, torch.full((4, 3), -1)])
    assert task_metrics(torch.cat([scores, torch.randn(4, 3)]), some, True) == task_metrics(scores, labels, True)


def test_confusion_has_the_true_class_in_its_rows():
    matrix = confusion_matrix(SCORES, LABELS)
    assert matrix.dtype == torch.int64
    assert matrix.tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 1]]


def test_a_row_for_each_class():
    scores = torch.cat([SCORES, torch.tensor([[5.0, 0, 0]])])
    rows = per_class(scores, torch.cat([LABELS, torch.tensor([2])]), ["a", "b", "c"])
    assert rows == [ClassRow("a", 1, 1.0), ClassRow("b", 1, 1.0), ClassRow("c", 4, 0.25, "a")]
    assert per_class(SCORES[:1], LABELS[:1], ["a", "b", "c"])[1] == ClassRow("b", 0, None)


def test_a_row_for_each_of_several_labels():
    scores = torch.tensor([[0.9, 0.1], [0.1, 0.2]])
    rows = per_class(scores, torch.tensor([[1, 0], [0, 0]]), ["a", "b"], multi_label=True)
    assert rows == [ClassRow("a", 1, 1.0), ClassRow("b", 0, None)]


def test_several_tasks_are_right_together():
    verb, noun = torch.eye(2)[[0, 1, 1, 0]], torch.eye(3)[[0, 2, 1, 1]]
    labels = {"verb": torch.tensor([0, 1, 0, 0]), "noun": torch.tensor([0, 2, 1, -1])}
    figures = tasks_metrics({"verb": verb, "noun": noun}, labels)
    assert figures["top1"] == pytest.approx(2 / 3)  # The last video has no noun
    own = {f"verb/{name}": figure for name, figure in task_metrics(verb, labels["verb"]).items()}
    assert own.items() <= figures.items()
    assert figures["noun/top1"] == 1.0
    assert all_metrics({"verb": verb, "noun": noun}, labels) == figures


def test_tasks_without_common_videos_have_no_figure_in_common():
    scores = {"verb": torch.eye(2), "noun": torch.eye(2)}
    figures = tasks_metrics(scores, {"verb": torch.tensor([0, -1]), "noun": torch.tensor([-1, 1])})
    assert {name.partition("/")[0] for name in figures} == {"verb", "noun"}


@pytest.mark.parametrize(
    ("scores", "labels", "multi_label", "told"),
    [
        (torch.zeros(3), torch.zeros(3), False, r"scores of shape \(3,\) were given"),
        (torch.zeros(3, 2), torch.zeros(3, 2), False, r"labels of shape \(3, 2\) were given: they must be \(3,\)"),
        (torch.zeros(3, 2), torch.zeros(3), True, r"must be \(3, 2\), \(videos, classes\) for multi_label=True"),
        (torch.zeros(3, 2), torch.tensor([0, 1, 2]), False, "a label 2 was given: it must be from 0 to 1, or -1"),
        (torch.zeros(3, 2), torch.tensor([0, 1, -2]), False, "a label -2 was given"),
        (torch.zeros(1, 2), torch.tensor([[0, 3]]), True, "a label 3 was given: it must be from 0 to 1"),
        (torch.tensor([[0, math.nan], [1, 0]]), torch.zeros(2), False, "scores of 1 of 2 videos are not finite"),
    ],
)
def test_what_does_not_fit_is_told(scores, labels, multi_label, told):
    with pytest.raises(ValueError, match=told):
        task_metrics(scores, labels, multi_label)


def test_classes_and_tasks_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match="2 classes and scores of 3 do not fit"):
        per_class(SCORES, LABELS, ["a", "b"])
    with pytest.raises(ValueError, match=r"tasks \['verb'\] and labels of \['noun'\] do not fit"):
        tasks_metrics({"verb": SCORES}, {"noun": LABELS})
    with pytest.raises(ValueError, match="scores and labels do not fit: give both of one task, or both by task"):
        all_metrics({"verb": SCORES}, LABELS)
