"""What an online recogniser says at one moment of a stream."""

from dataclasses import dataclass, field

from pv_sparse.models.logits import Logits, map_logits
from pv_sparse.recognition import ClassScore, best_classes
from pv_sparse.zoo.weights import Categories


@dataclass(frozen=True, eq=False)
class OnlinePrediction:
    """One answer; its tensors are its own, float32, on the CPU, by task in a dict where the model has several tasks.

    Attributes:
        logits: (num_classes,): of these frames alone.
        scores: (num_classes,) in [0, 1]: after softmax, or sigmoid where several classes can be right, or the model's
            own activation; averaged with those before where the memory asks for it.
        frame_index: of the newest frame, counted from 0 since the start or `reset`.
        frame_indices: those the network read, in order.
        categories: the names of the classes; None where nobody told them.
    """

    logits: Logits
    scores: Logits
    frame_index: int
    frame_indices: list[int]
    categories: Categories | None = field(default=None, repr=False)

    def best(self, top_k: int = 5) -> list[ClassScore]:
        """The `top_k` classes of the highest scores, best first; of several tasks, one after another.

        Raises:
            ValueError: `top_k` below 1; a model without names of its classes, or with other classes.
        """
        if top_k < 1:
            raise ValueError(f"top_k={top_k} is not allowed: it must be at least 1")
        if self.categories is None:
            raise ValueError("the classes have no names: give OnlineRecognizer weights=, or read .scores")
        counts = map_logits(len, self.scores)  # type: ignore[arg-type]
        names = self.categories
        named = {task: len(own) for task, own in names.items()} if isinstance(names, dict) else len(names)
        if counts != named:
            raise ValueError(f"the model has {counts} classes, weights= has names of {named}: give its own weights")
        return best_classes(self.scores, names, top_k)
