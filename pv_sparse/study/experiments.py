"""What an experiment of the study is: models, how they are trained, and how they are tested."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from pv_sparse.data.rules import get_rule
from pv_sparse.data.selectors import SALIENCY, SELECTORS

LEVELS = ("quick", "default", "full")
ORDERS = ("ordered", "shuffled", "reversed")
Names = tuple[str, ...]


@dataclass(frozen=True)
class FrameChoice:
    """How the frames of a test are chosen and shown.

    Attributes:
        order: of the segments: `ordered`, `shuffled` (another permutation for each video, seeded) or `reversed`.
        rule, num_segments, snap, decode_budget: of `SegmentClipSampler`; None keeps what the model was trained for.
        files: read the video files, where a data set also has their frames as arrays.
        select: a selector of `SELECTORS`, or `saliency`: a scorer is trained for it, on the training videos of the data
            set of the test.
        num_looks: at most so many are scored, of `saliency`; None keeps its own number.
    """

    order: str = "ordered"
    rule: str | None = None
    num_segments: int | None = None
    snap: str | None = None
    decode_budget: int | None = None
    files: bool = False
    select: str | None = None
    num_looks: int | None = None

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise ValueError(f"order={self.order!r} is unknown: choose one of {', '.join(ORDERS)}")
        if self.rule is not None:
            get_rule(self.rule)
        if self.select not in (None, SALIENCY, *SELECTORS):
            raise ValueError(f"select={self.select!r} is unknown: choose one of {', '.join([*SELECTORS, SALIENCY])}")
        if self.num_looks is not None and self.select != SALIENCY:
            raise ValueError(f"num_looks={self.num_looks} goes with select={SALIENCY!r} alone: give both, or neither")

    @property
    def sampling(self) -> dict[str, Any]:
        """The arguments of `SegmentClipSampler` that it changes, but for the selector."""
        given = {name: getattr(self, name) for name in ("rule", "num_segments", "snap", "decode_budget")}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class StudyModel:
    """A model that is trained, or a fusion of others, or weights of the zoo as they are.

    Attributes:
        train: overrides of `pv-sparse train`.
        flow: it reads optical flow: the configuration of its data is the data set's with `_flow` behind its name.
        fuse: the models whose answers are averaged, two or more; () trains one.
        by: what is averaged, `scores` or `logits`.
        weights: a name of the zoo, in the place of all other fields; None trains.
    """

    train: Names = ()
    flow: bool = False
    fuse: Names = ()
    by: str = "scores"
    weights: str | None = None


@dataclass(frozen=True)
class Variant:
    """How models are trained and tested.

    Attributes:
        name: of the variant.
        train: overrides of `pv-sparse train`, after the model's.
        test: of the trained model.
        models: that have it; () for all.
    """

    name: str
    train: Names = ()
    test: FrameChoice = field(default_factory=FrameChoice)
    models: Names = ()


@dataclass(frozen=True)
class Selection:
    """What a level takes of an experiment: patterns such as `tsn_*`; all of a kind by default."""

    data: Names = ("*",)
    models: Names = ("*",)
    variants: Names = ("*",)

    def takes(self, data: str, model: str, variant: str) -> bool:
        pairs = ((data, self.data), (model, self.models), (variant, self.variants))
        return all(any(fnmatchcase(name, pattern) for pattern in patterns) for name, patterns in pairs)


class Combination(NamedTuple):
    """One place of an experiment's table."""

    data: str
    model: str
    variant: Variant


@dataclass(frozen=True)
class Experiment:
    """A question, and what is measured to answer it.

    Attributes:
        name: of its file in `configs/experiment/`.
        title, question: for people.
        data: names of data sets, to test on.
        models: by name.
        variants: their names are unique for each model.
        trained_on: by data set, another one that models are trained on; where it is not named, they are on itself.
        levels: by level, what it takes; all where it is not named.
    """

    name: str
    title: str
    question: str
    data: Names
    models: Mapping[str, StudyModel]
    variants: tuple[Variant, ...]
    levels: Mapping[str, tuple[Selection, ...]] = field(default_factory=dict)
    trained_on: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_trained(self) -> bool:
        """Whether models are trained for it; they are weights of the zoo where not."""
        return not any(model.weights for model in self.models.values())

    def combinations(self, level: str = "full") -> list[Combination]:
        """What a level measures, in the order of the file."""
        taken = self.levels.get(level, (Selection(),))
        return [each for each in self._all() if any(own.takes(*each[:2], each.variant.name) for own in taken)]

    def _all(self) -> Iterator[Combination]:
        for data, model, variant in itertools.product(self.data, self.models, self.variants):
            if not variant.models or model in variant.models:
                yield Combination(data, model, variant)
