"""The field's figures from scores and labels: accuracies, mean average precision, the confusion of classes.

Pure functions. Scores may be logits or probabilities; only their order matters. Figures are fractions, 0 to 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision

from pv_sparse.data.label_tables import UNLABELLED

Figures = dict[str, float]


@dataclass(frozen=True)
class ClassRow:
    """What became of the videos of one class.

    Args:
        name: of the class.
        videos: how many have it.
        top1: the share of them that was recognised; of several labels a video, the class's average precision instead.
            None where there are no such videos.
        most_confused_with: the class that the others were most often taken for; None where there are none.
    """

    name: str
    videos: int
    top1: float | None
    most_confused_with: str | None = None


def task_metrics(scores: Tensor, labels: Tensor, multi_label: bool = False) -> Figures:
    """The figures of one task.

    One label a video: `top1`, `top5` (the label is among the 5 highest scores, or among all where there are fewer
    classes) and `mean_class_accuracy` (the mean over classes of the share of their videos that is recognised, as
    tsn-pytorch and the Caffe TSN print it; over the classes that occur, where theirs divide by zero).

    Several: `map`, the mean over classes that occur of their average precision (what Charades and others print; its
    own script divides by 0.1 more than the number of positives, which is not done here), and `weighted_map`, the same
    weighted by the videos of each class.

    Args:
        scores: (N, C) floats.
        labels: (N,) integers, -1 where a video has none; or (N, C) of 0 and 1, all -1 where a video has none. Videos
            without labels are left out.
        multi_label: a video has several labels, and they are (N, C).

    Returns:
        Fractions by name; none where no video has a label.

    Raises:
        ValueError: shapes that do not fit, a label outside the classes, or scores that are not numbers.
    """
    scores, labels = _labelled(scores, labels, multi_label)
    if not len(labels):
        return {}
    if multi_label:
        return _average_precisions_in_short(scores, labels)
    hits = best_classes(scores, 5) == labels[:, None]  # (N, k)
    recalled = _recalls(confusion_matrix(scores, labels))
    return {
        "top1": hits[:, 0].double().mean().item(),
        "top5": hits.any(1).double().mean().item(),
        "mean_class_accuracy": recalled[~recalled.isnan()].mean().item(),
    }


def all_metrics(
    scores: Tensor | Mapping[str, Tensor], labels: Tensor | Mapping[str, Tensor], multi_label: bool = False
) -> Figures:
    """`task_metrics` of tensors, `tasks_metrics` of dicts of them by task.

    Raises:
        ValueError: as these; scores by task with labels that are not, or the reverse.
    """
    if isinstance(scores, Mapping) and isinstance(labels, Mapping):
        return tasks_metrics(scores, labels)
    if isinstance(scores, Mapping) or isinstance(labels, Mapping):
        raise ValueError("scores and labels do not fit: give both of one task, or both by task")
    return task_metrics(scores, labels, multi_label)


def tasks_metrics(scores: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Figures:
    """`<task>/<name>`: `task_metrics` of each; and `top1`: the share of videos, of those with all labels, all right.

    EPIC-KITCHENS calls that the action accuracy, of the tasks verb and noun. One label a video and task; `top1` is
    missing where no video has them all.

    Raises:
        ValueError: tasks without labels, or as `task_metrics`.
    """
    missing = [task for task in scores if task not in labels]
    if missing or not scores:
        raise ValueError(f"scores of the tasks {list(scores)} and labels of {list(labels)} do not fit: give both alike")
    by_task = {
        f"{task}/{name}": figure for task in scores for name, figure in task_metrics(scores[task], labels[task]).items()
    }
    has_all = torch.stack([labels[task] != UNLABELLED for task in scores]).all(0)
    all_right = torch.stack([best_classes(scores[task])[:, 0] == labels[task] for task in scores]).all(0)[has_all]
    return {"top1": all_right.double().mean().item(), **by_task} if len(all_right) else by_task


def best_classes(scores: Tensor, k: int = 1) -> Tensor:
    """(N, C) -> (N, k) int64, the highest score first; all classes where k is more. Of equal scores the first class."""
    return scores.argsort(dim=1, descending=True, stable=True)[:, :k]


def confusion_matrix(scores: Tensor, labels: Tensor) -> Tensor:
    """How often videos of a class (row) were taken for a class (column): (C, C) int64 of (N, C) scores, (N,) labels."""
    scores, labels = _labelled(scores, labels, multi_label=False)
    num_classes = scores.shape[1]
    places = labels * num_classes + best_classes(scores)[:, 0]
    return torch.bincount(places, minlength=num_classes**2).reshape(num_classes, num_classes)


def per_class(scores: Tensor, labels: Tensor, classes: Sequence[str], multi_label: bool = False) -> list[ClassRow]:
    """A row for each class, in their order; arguments as of `task_metrics`.

    Raises:
        ValueError: as `task_metrics`, or another number of classes than of scores.
    """
    if len(classes) != scores.shape[1]:
        raise ValueError(f"{len(classes)} classes and scores of {scores.shape[1]} do not fit")
    if multi_label:
        counts = _labelled(scores, labels, multi_label)[1].sum(0).tolist()
        precisions = average_precisions(scores, labels).tolist()
        known = zip(classes, counts, precisions, strict=True)
        return [ClassRow(name, count, precision if count else None) for name, count, precision in known]
    matrix = confusion_matrix(scores, labels)
    wrong = matrix.clone().fill_diagonal_(0)
    rows = []
    for number, name in enumerate(classes):
        videos, worst = int(matrix[number].sum()), int(wrong[number].argmax())
        top1 = matrix[number, number].item() / videos if videos else None
        rows.append(ClassRow(name, videos, top1, classes[worst] if wrong[number, worst] else None))
    return rows


def average_precisions(scores: Tensor, labels: Tensor) -> Tensor:
    """Of each class: (C,) float64 of (N, C) scores and (N, C) labels; NaN where no video has the class."""
    scores, labels = _labelled(scores, labels, multi_label=True)
    occurring = labels.sum(0) > 0
    precisions = torch.full((scores.shape[1],), torch.nan, dtype=torch.float64, device=scores.device)
    for column in occurring.nonzero()[:, 0].tolist():
        ranks = torch.unique(scores[:, column], return_inverse=True)[1].double()
        # Ranks between 0 and 1 keep the order exactly; of large logits torchmetrics' sigmoid would not.
        shares = ranks / max(1.0, float(ranks.max()))
        precisions[column] = binary_average_precision(shares, labels[:, column])
    return precisions


def _average_precisions_in_short(scores: Tensor, labels: Tensor) -> Figures:
    precisions, counts = average_precisions(scores, labels), labels.sum(0).double()
    occurs = counts > 0
    if not occurs.any():
        return {}
    precisions, counts = precisions[occurs], counts[occurs]
    weighted = (precisions * counts).sum() / counts.sum()
    return {"map": precisions.mean().item(), "weighted_map": weighted.item()}


def _recalls(matrix: Tensor) -> Tensor:
    """Of each class: (C,) float64, NaN where it does not occur."""
    return matrix.diagonal().double() / matrix.sum(1)


def _labelled(scores: Tensor, labels: Tensor, multi_label: bool) -> tuple[Tensor, Tensor]:
    """What has labels, checked; int64 labels."""
    if scores.ndim != 2 or not scores.shape[1]:
        raise ValueError(f"scores of shape {tuple(scores.shape)} were given: they must be (videos, classes)")
    expected = tuple(scores.shape) if multi_label else (len(scores),)
    if tuple(labels.shape) != expected:
        hint = ", (videos, classes) for multi_label=True" if multi_label else ", one number a video"
        raise ValueError(f"labels of shape {tuple(labels.shape)} were given: they must be {expected}{hint}")
    if not torch.isfinite(scores).all():
        bad = int((~torch.isfinite(scores)).any(1).sum())
        raise ValueError(f"the scores of {bad} of {len(scores)} videos are not finite numbers")
    labels = labels.long()
    known = (labels != UNLABELLED).all(1) if multi_label else labels != UNLABELLED
    scores, labels = scores[known], labels[known]
    allowed = 2 if multi_label else scores.shape[1]
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < allowed:
        worst = next(label for label in (int(labels.min()), int(labels.max())) if not 0 <= label < allowed)
        raise ValueError(f"a label {worst} was given: it must be from 0 to {allowed - 1}, or -1 where there is none")
    return scores, labels
