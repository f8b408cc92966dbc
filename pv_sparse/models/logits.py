"""Logits of one task, or a dict of them by task: the classifier that gives them, and what is done to either alike."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

Logits = Tensor | dict[str, Tensor]
NumClasses = int | Mapping[str, int]


class TaskLinear(nn.ModuleDict):
    """A linear classifier a task, all reading the same features."""

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        return {task: linear(features) for task, linear in self.items()}


def create_classifier(in_features: int, num_classes: NumClasses, std: float | None = None) -> nn.Module:
    """(..., in_features) -> (..., num_classes), or a dict of them where `num_classes` is one (`{"verb": 125, ...}`).

    Args:
        std: of the normal random weights, with zero biases; None is PyTorch's own initialisation of `nn.Linear`.
    """
    if isinstance(num_classes, Mapping):
        if not num_classes:
            raise ValueError("num_classes={} is not allowed: name at least one task")
        bad = [task for task in num_classes if "." in task or hasattr(nn.ModuleDict, task)]
        if bad:
            raise ValueError(f"a task cannot be called {bad[0]!r}: choose another word, without dots")
        return TaskLinear({task: create_classifier(in_features, n, std) for task, n in num_classes.items()})
    if not isinstance(num_classes, int) or num_classes < 1:
        raise ValueError(f"num_classes={num_classes} is not allowed: it must be a number of at least 1")
    linear = nn.Linear(in_features, num_classes)
    if std is not None:
        nn.init.normal_(linear.weight, std=std)
        nn.init.zeros_(linear.bias)
    return linear


def map_logits(function: Callable[..., Tensor], first: Logits, *others: Logits) -> Logits:
    """`function` over tensors, or over the tensors of each task."""
    if isinstance(first, dict):
        return {task: function(first[task], *[other[task] for other in others]) for task in first}  # type: ignore[index]
    return function(first, *others)


def to_scores(logits: Logits, multi_label: bool = False) -> Logits:
    """Logits (..., num_classes) as float32 scores in [0, 1]: softmax, or sigmoid where several classes can be right."""
    return map_logits(lambda own: own.float().sigmoid() if multi_label else own.float().softmax(dim=-1), logits)
