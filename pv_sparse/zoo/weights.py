"""The `Weights` record: how to build a model, fill it, and feed it. Read from `model_zoo/*.yaml`.

Torch and the host are imported where they are used, so that listing the zoo is quick.
"""

import copy
import difflib
import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pv_sparse.errors import WeightsError
from pv_sparse.resources import resource_dir
from pv_sparse.zoo.files import find

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pv_sparse.data.clip_sampling import SegmentClipSampler
    from pv_sparse.data.segment_plan import Selector

Categories = tuple[str, ...] | dict[str, tuple[str, ...]]
CHANGEABLE = ("build", "file", "sampling", "input", "one_view", "scorer", "origin", "metrics")
FAMILIES = ("tsn", "trn", "eco")
ZOO_NAME = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")


@dataclass(frozen=True)
class Weights:
    """Weights and how to use them.

    Attributes:
        name: of the zoo, `architecture.source_dataset`; or the path of a file.
        build: `builder`, a function of pv_sparse, and its `arguments`.
        file: where the tensors are and what they hash to: `urls`, tried in order, `name` where it is not that of the
            first address, `sha256` (whole, or its first digits; without it none is published); or `package`, `name` and
            `extra` of an installed package; or `resource`, a file that lies in `model_zoo/`; or `path`.
        sampling: arguments of `SegmentClipSampler`: the frames that the published figures were measured with.
        input: arguments of `EvaluationTransform`; and `num_crops`, 1, 3 or 10 as published, and `invert_flow` of
            `create_sparse_video_transform`.
        categories: the classes, in the order of the logits; of several tasks, a dict.
        dataset: that it was trained on last.
        one_view: arguments of `SegmentClipSampler` for one quick look, as `recognize` takes it; empty is `sampling`.
        scorer: arguments of the `LookScorer` that was trained for them, and `num_looks` of `Saliency`; its tensors lie
            in the same file. Empty where there is none.
        origin: `url`, `license`, `doubtful` where the address is, and the `converter` that maps their keys to ours;
            None where they are ours already, and then `converted_from` is the one that did.
        category_order: `that of other sources` where the publisher of the file shows none, `assumed` where no source
            proves it; else empty.
        multi_label: whether several classes can be right at once (scores are sigmoids).
        metrics: published figures in percent, each with its data set, its protocol and who measured it (`by`: `paper`,
            `source` or `us`).
        description: one line for people.
        notes: what a user has to know besides.
        unsupported: why there is no model of ours for the file; empty where there is.
        exit_temperature: above 0; what logits are divided by where recognition asks whether it is sure, fitted on
            held-out videos by `pv-sparse bench --early-exit`; None where nobody did, and they stay as they are.
    """

    name: str
    build: Mapping[str, Any]
    file: Mapping[str, Any]
    sampling: Mapping[str, Any]
    input: Mapping[str, Any]
    categories: Categories
    dataset: str = ""
    one_view: Mapping[str, Any] = field(default_factory=dict)
    scorer: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    category_order: str = ""
    multi_label: bool = False
    metrics: tuple[Mapping[str, Any], ...] = ()
    description: str = ""
    notes: str = ""
    unsupported: str = ""
    exit_temperature: float | None = None

    @property
    def architecture(self) -> str:
        """What `pv_sparse.zoo.hub` calls it: the name before its dot; empty for a file."""
        return self.name.partition(".")[0] if self._is_of_zoo else ""

    @property
    def tag(self) -> str:
        """Which weights of its architecture: the name after its dot; empty for a file."""
        return self.name.partition(".")[2] if self._is_of_zoo else ""

    @property
    def _is_of_zoo(self) -> bool:
        # `mine.safetensors` has the form of a name too.
        return "path" not in self.file and ZOO_NAME.fullmatch(self.name) is not None

    @property
    def family(self) -> str:
        """`tsn`, `trn`, `eco`, or `backbone` for all others."""
        of_builder = self.build["builder"].removeprefix("create_")
        first = (self.architecture or of_builder).partition("_")[0]
        return first if first in FAMILIES else "backbone"

    @property
    def modality(self) -> str:
        """`rgb`, `flow` or `rgbdiff`."""
        arguments = self.build["arguments"]
        if arguments.get("in_channels", 3) == 2:
            return "flow"
        return "rgbdiff" if arguments.get("frames_per_segment", 1) > 1 else "rgb"

    @property
    def num_views(self) -> int:
        """Clips and crops of the published test, each of which the model answers to."""
        from pv_sparse.data.rules import get_rule

        return get_rule(self.sampling.get("rule", "center")).num_views * self.input.get("num_crops", 1)

    @property
    def num_classes(self) -> int | dict[str, int]:
        """Of the classifier; of several tasks, a dict."""
        return self.build["arguments"]["num_classes"]

    @property
    def is_available(self) -> bool:
        """Whether the file is here, so that loading needs no installation or download."""
        return not self.unsupported and find(self.file) is not None

    @property
    def view_average(self) -> str:
        """What the published test averages over views: `logits`, or `scores` (mmaction2's TRN)."""
        is_mmaction2 = "mmaction2" in (self.origin.get("converter"), self.origin.get("converted_from"))
        return "scores" if is_mmaction2 and self.build["builder"] == "create_trn" else "logits"

    def indices(self, num_frames: int, one_view: bool = True) -> "Tensor":
        """The frames of one look at a video, (segments, frames_per_segment) int64; else those of the published test.

        Raises:
            ValueError: weights whose frames go by the video's file: `sampler(one_view=True).plan(0).indices(video)`.
        """
        from pv_sparse.data.segments import segment_indices

        given = (self.one_view if one_view else None) or self.sampling
        if "select" in given:
            raise ValueError(f"{self.name} chooses its frames by the video itself: take those of its sampler()")
        return segment_indices(num_frames, **given)

    def sampler(self, one_view: bool = False, select: "str | Selector | None" = None) -> "SegmentClipSampler":
        """The clip sampler of the published test; with `one_view`, that of one look; with `select`, where it says."""
        from pv_sparse.data.clip_sampling import SegmentClipSampler

        given = dict((self.one_view if one_view else None) or self.sampling)
        if select is not None:
            given.update(rule="center", select=select)  # segments of equal weight, and not the publisher's
        return SegmentClipSampler(**given)

    def transform(self, one_view: bool = False) -> "nn.Module":
        """What turns a clip (3, T, H, W) into the model's input, with all crops of the published test.

        Crops lie along time, view after view: a TSN averages them as further segments; for others `fold_views` makes a
        batch of them. With `one_view`, the centre crop alone.
        """
        from pv_sparse.transforms import NORMALIZATIONS, create_sparse_video_transform

        given = dict(self.input)
        imagenet = NORMALIZATIONS["imagenet"]
        is_difference = self.modality == "rgbdiff"
        return create_sparse_video_transform(
            "test",
            video_key=None,
            num_crops=1 if one_view else given.get("num_crops", 1),
            size=given.get("crop", 224),
            resize=given.get("resize", 256),
            interpolation=given.get("interpolation", "bilinear"),
            invert_flow=given.get("invert_flow", True),
            normalization=replace(imagenet, **{key: given[key] for key in vars(imagenet) if key in given}),
            temporal_difference=is_difference,
            frames_per_segment=self.build["arguments"]["frames_per_segment"] + 1 if is_difference else None,
        )

    def with_categories(self, categories: Sequence[str]) -> "Weights":
        """The record of a model that was tuned to other classes: to `save_model` what it learned."""
        arguments = {**self.build["arguments"], "num_classes": len(categories)}
        build = {**self.build, "arguments": arguments}
        return replace(
            self,
            build=build,
            categories=tuple(categories),
            scorer={},
            metrics=(),
            category_order="",
            dataset="",
            description="",
            exit_temperature=None,
        )

    def as_record(self) -> dict[str, Any]:
        """Plain values, as in `model_zoo/*.yaml`, with the categories themselves; what is as by default is left out."""
        optional = {own.name: own.default for own in fields(self) if own.default is not MISSING} | {"scorer": {}}
        record = {key: value for key, value in vars(self).items() if value != optional.get(key, MISSING)}
        del record["name"], record["sampling"]
        return {"sampler": self.sampling, **record}

    @classmethod
    def from_record(cls, name: str, record: Mapping[str, Any]) -> "Weights":
        """The reverse of `as_record`; `WeightsError` for what is no record."""
        values = dict(record)
        _check_temperature(name, values.get("exit_temperature"))
        try:
            values["categories"] = _tuples(values["categories"])
            values["metrics"] = tuple(values.get("metrics", ()))
            return cls(name=name, sampling=values.pop("sampler"), **values)
        except (KeyError, TypeError) as error:
            raise WeightsError(f"{name}: its record is not whole ({error})") from error


def classes_told(num_classes: int | Mapping[str, int]) -> str:
    """How many classes, for people: `400 classes` or `125 verbs, 352 nouns`."""
    if isinstance(num_classes, int):
        return f"{num_classes} class{'' if num_classes == 1 else 'es'}"
    return ", ".join(f"{count} {task}s" for task, count in num_classes.items())


def list_weights(available: bool = False) -> list[str]:
    """The names of the zoo, sorted; with `available`, only those whose file is here."""
    return sorted(name for name, weights in _zoo().items() if weights.is_available or not available)


def list_architectures() -> dict[str, list[Weights]]:
    """The architectures of TSN, TRN and ECO, each with its weights, in the order of `model_zoo`: the default first."""
    found: dict[str, list[Weights]] = {}
    for weights in _zoo().values():
        if weights.family != "backbone" and not weights.unsupported:
            found.setdefault(weights.architecture, []).append(weights)
    return found


def get_weights(name: str) -> Weights:
    """The record of this name, the caller's own; `WeightsError` offers near matches."""
    if name in _zoo():
        shared = _zoo()[name]
        return replace(shared, **{key: copy.deepcopy(getattr(shared, key)) for key in CHANGEABLE})
    begun = [known for known in _zoo() if name and known.startswith(name)]
    near = begun[:3] or difflib.get_close_matches(name, _zoo(), n=3, cutoff=0.5)
    offer = f"did you mean {' or '.join(near)}?" if near else "pv-sparse zoo list shows those there are"
    raise WeightsError(f"weights {name!r} are unknown, and no such file exists: {offer}")


@functools.cache
def _zoo() -> dict[str, Weights]:
    paths = sorted(resource_dir("model_zoo").glob("*.yaml"))
    return {weights.name: weights for path in paths for weights in _records(path)}


def _records(path: Path) -> Iterator[Weights]:
    # The C loader reads the zoo in a tenth of the time; not every build of PyYAML has it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506
    for name, record in content.items():
        if name != "_shared":
            yield Weights.from_record(name, {**record, "categories": _read_categories(record["categories"])})


def _read_categories(names: str | Mapping[str, str]) -> Categories:
    if isinstance(names, str):
        return category_list(names)
    return {task: category_list(name) for task, name in names.items()}


@functools.cache
def category_list(name: str) -> tuple[str, ...]:
    """The classes of `model_zoo/categories/<name>.txt`, in the order of their numbers."""
    return tuple((resource_dir("model_zoo") / "categories" / f"{name}.txt").read_text(encoding="utf-8").splitlines())


def _check_temperature(name: str, given: Any) -> None:
    is_number = isinstance(given, (int, float)) and not isinstance(given, bool)
    if given is not None and not (is_number and 0 < given < math.inf):
        raise WeightsError(
            f"{name}: its record has exit_temperature={given!r}: it must be a number above 0, or be left out"
        )


def _tuples(categories: Any) -> Categories:
    if isinstance(categories, Mapping):
        return {task: tuple(names) for task, names in categories.items()}
    return tuple(categories)
