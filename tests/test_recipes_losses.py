"""The loss of one task and of several, against PyTorch's own; and labels that are missing or wrong."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pv_sparse.recipes.losses import TaskLoss, check_labels

TASKS = {"verb": 5, "noun": 3}


def logits(num_videos: int = 4, num_classes: int = 5) -> Tensor:
    return torch.randn(num_videos, num_classes, dtype=torch.float64, requires_grad=True)


def by_task(num_videos: int = 4) -> dict[str, Tensor]:
    return {task: logits(num_videos, number) for task, number in TASKS.items()}


# One task


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weights", [None, [1.0, 2.0, 0.5, 0.0, 3.0]])
@pytest.mark.parametrize("labels", [[0, 1, 2, 4], [0, -1, 2, 3]])
def test_it_is_pytorchs(label_smoothing, class_weights, labels):
    loss = TaskLoss(label_smoothing=label_smoothing, class_weights=class_weights)
    given, labels = logits(), torch.tensor(labels)
    weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float64)
    expected = F.cross_entropy(given, labels, weight, ignore_index=-1, label_smoothing=label_smoothing)
    torch.testing.assert_close(loss(given, labels), expected)
    torch.testing.assert_close(loss.by_task(given, labels), {"loss": expected})


@pytest.mark.parametrize("arguments", [{}, {"label_smoothing": 0.1}, {"class_weights": [1.0] * 5}])
def test_a_batch_without_labels_has_no_loss_and_no_gradient(arguments):
    given = logits()
    loss = TaskLoss(**arguments)(given, torch.full((4,), -1))
    loss.backward()
    assert loss == 0
    assert not given.grad.any()


def test_what_has_no_label_has_no_gradient():
    given = logits()
    TaskLoss()(given, torch.tensor([1, -1, 2, -1])).backward()
    assert given.grad.abs().sum(dim=1).ne(0).tolist() == [True, False, True, False]


def test_half_precision_is_computed_in_float32():
    given = torch.tensor([[60000.0, 0.0]], dtype=torch.float16)
    assert TaskLoss()(given, torch.tensor([1])) == 60000
    assert TaskLoss()(given, torch.tensor([1])).dtype == torch.float32


def test_weights_are_not_in_checkpoints_and_move_with_the_loss():
    loss = TaskLoss(class_weights=[1.0, 2.0])
    assert loss.state_dict() == {}
    assert {buffer.device.type for buffer in loss.to("meta").buffers()} == {"meta"}


# Several tasks


def test_tasks_are_summed_with_their_weights():
    given, labels = by_task(), {"verb": torch.tensor([0, 1, 2, 4]), "noun": torch.tensor([0, 1, 2, -1])}
    loss = TaskLoss(task_weights={"noun": 0.5}, class_weights={"noun": [1.0, 2.0, 3.0]}, label_smoothing=0.1)
    found = loss.by_task(given, labels)
    verb = F.cross_entropy(given["verb"], labels["verb"], label_smoothing=0.1)
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    noun = F.cross_entropy(given["noun"], labels["noun"], weights, ignore_index=-1, label_smoothing=0.1)
    torch.testing.assert_close(found, {"verb": verb, "noun": noun})
    torch.testing.assert_close(loss(given, labels), verb + 0.5 * noun)


def test_a_task_without_labels_leaves_the_others():
    given, labels = by_task(), {"verb": torch.tensor([0, 1, 2, 4]), "noun": torch.full((4,), -1)}
    loss = TaskLoss()(given, labels)
    loss.backward()
    torch.testing.assert_close(loss, F.cross_entropy(given["verb"], labels["verb"]))
    assert not given["noun"].grad.any()


def test_labels_of_more_than_the_tasks_are_no_matter():
    given = by_task()
    labels = {task: torch.zeros(4, dtype=torch.int64) for task in (*TASKS, "narrator")}
    assert TaskLoss().by_task(given, labels).keys() == TASKS.keys()


# Several classes a video


def test_several_classes_are_pytorchs():
    given, labels = logits(2, 3), torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.5]])
    loss = TaskLoss(multi_label=True, class_weights=[1.0, 2.0, 3.0])
    weight = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    expected = F.binary_cross_entropy_with_logits(given, labels.double(), pos_weight=weight)
    torch.testing.assert_close(loss(given, labels), expected)


def test_smoothing_of_several_classes_goes_towards_one_half():
    given = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    TaskLoss(multi_label=True, label_smoothing=0.2)(given, torch.tensor([[1, 0]])).backward()
    torch.testing.assert_close(given.grad * 2, torch.tensor([[0.5 - 0.9, 0.5 - 0.1]], dtype=torch.float64))


def test_classes_of_which_nothing_is_known_are_left_out():
    given = logits(2, 3)
    loss = TaskLoss(multi_label=True)(given, torch.tensor([[1, -1, 0], [-1, -1, -1]]))
    loss.backward()
    expected = F.binary_cross_entropy_with_logits(given[0, [0, 2]], torch.tensor([1.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(loss, expected)
    assert given.grad.ne(0).tolist() == [[True, False, True], [False, False, False]]
    assert TaskLoss(multi_label=True)(given, torch.full((2, 3), -1)) == 0


def test_several_tasks_of_several_classes():
    given = by_task(2)
    labels = {"verb": torch.ones(2, 5), "noun": torch.zeros(2, 3)}
    expected = -F.logsigmoid(given["verb"]).mean() - F.logsigmoid(-given["noun"]).mean()
    torch.testing.assert_close(TaskLoss(multi_label=True)(given, labels), expected)


# Mistakes


@pytest.mark.parametrize(
    ("labels", "multi_label", "words"),
    [
        (torch.tensor([0, 5]), False, r"labels hold 5: they must be from 0 to 4 \(the model has 5 classes\), or -1"),
        (torch.tensor([0, -2]), False, "labels hold -2"),
        (torch.tensor([0.0, 1.0]), False, r"labels of shape \(2,\), torch.float32, were given: take \(N,\)"),
        (torch.zeros(2, 5), False, r"labels of shape \(2, 5\), torch.float32, were given"),
        (torch.zeros(2, 4), True, r"labels of shape \(2, 4\), .* take \(N, 5\), a number for each class"),
        (torch.full((2, 5), 1.5), True, "labels hold 1.5: they must be from 0 to 1, or -1"),
        (torch.full((2, 5), math.nan), True, "labels hold nan"),
    ],
)
def test_labels_that_do_not_fit(labels, multi_label, words):
    with pytest.raises(ValueError, match=words) as told:
        TaskLoss(multi_label=multi_label)(logits(2), labels)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "labels", "arguments", "words"),
    [
        (by_task(2), torch.tensor([0, 1]), {}, "the model gives a dict by task and the labels are a tensor"),
        (logits(2), {"verb": torch.tensor([0, 1])}, {}, "the model gives a tensor and the labels are a dict by task"),
        (by_task(2), {"verb": torch.tensor([0, 1])}, {}, "there are no labels of noun, but of verb"),
        (by_task(2), {"verb": torch.tensor([0, 1]), "noun": torch.tensor([0, 3])}, {}, "the labels of noun hold 3"),
        (logits(2), torch.tensor([0, 1]), {"class_weights": [1.0]}, "class_weights: 1 were given for 5 classes"),
        (logits(2), torch.tensor([0, 1]), {"class_weights": {"verb": [1.0]}}, "class_weights name verb: .* one task"),
        (
            logits(2),
            torch.tensor([0, 1]),
            {"task_weights": {"verb": 2.0}},
            "task_weights name verb: the model has only",
        ),
    ],
)
def test_tasks_that_do_not_fit(given, labels, arguments, words):
    with pytest.raises(ValueError, match=words):
        TaskLoss(**arguments)(given, labels)


def test_one_list_of_weights_for_several_tasks():
    labels = {task: torch.tensor([0, 1]) for task in TASKS}
    with pytest.raises(ValueError, match="class_weights are one list: the model has the tasks verb, noun"):
        TaskLoss(class_weights=[1.0, 2.0])(by_task(2), labels)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"label_smoothing": 1}, "label_smoothing=1 is not allowed"),
        ({"label_smoothing": "x"}, "label_smoothing='x' is not allowed: it must be a number of at least 0 and below 1"),
        (
            {"class_weights": 2.0},
            "class_weights=2.0 are not allowed: give a list of a number for each class",
        ),
        ({"class_weights": {"verb": "abc"}}, "class_weights='abc' are not allowed: give a list"),
        ({"class_weights": [1.0, "x"]}, "class_weights hold 'x': each must be a number of at least 0"),
        ({"class_weights": [0, 0]}, r"class_weights=\[0, 0\] are not allowed: one at least must be above 0"),
        ({"class_weights": {"verb": [0.0]}}, r"class_weights=\[0.0\] are not allowed"),
        ({"task_weights": 2.0}, "task_weights=2.0 are not allowed: give a dict of a number for each task"),
        ({"task_weights": {"verb": "x"}}, "task_weights hold 'x'"),
        ({"class_weights": [1.0, -1.0]}, "class_weights hold -1.0: each must be a number of at least 0"),
        ({"class_weights": {"verb": [math.inf]}}, "class_weights hold inf"),
        ({"task_weights": {"verb": math.nan}}, "task_weights hold nan"),
    ],
)
def test_numbers_that_make_no_sense(arguments, words):
    with pytest.raises(ValueError, match=words):
        TaskLoss(**arguments)


def test_labels_can_be_checked_alone():
    check_labels(torch.tensor([0, 4, -1]), 5)
    check_labels(torch.zeros(0, dtype=torch.int64), 5)
    with pytest.raises(ValueError, match="the labels of noun hold 9"):
        check_labels(torch.tensor([9]), 5, named=" of noun")


@pytest.mark.gpu
def test_a_wrong_label_is_told_before_a_kernel_asserts():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    with pytest.raises(ValueError, match="the labels hold 5"):
        TaskLoss()(logits(2).cuda(), torch.tensor([0, 5]).cuda())
    assert TaskLoss()(logits(2).cuda(), torch.tensor([0, 4]).cuda()).isfinite()
