"""Why a TRN answers as it does: the records that `RelationHead.explain` gives."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TupleScore:
    """What one tuple of segments alone says about a class: `score` is its logit."""

    segments: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class Explanation:
    """Why a TRN gives a video its logit for a class.

    Attributes:
        class_index: the class.
        logit: of that class, in eval and before any `head_activation`; the sum of `scales`.
        scales: what each scale (a number of segments) adds to it.
        tuples: those that speak most for the class, best first.
    """

    class_index: int
    logit: float
    scales: dict[int, float]
    tuples: list[TupleScore]
