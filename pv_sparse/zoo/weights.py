"""The `Weights` record: how to build a model, fill it, and feed it. Read from `model_zoo/*.yaml`."""

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from torch import Tensor

from pv_sparse.data.segments import segment_indices
from pv_sparse.errors import WeightsError
from pv_sparse.resources import resource_dir
from pv_sparse.transforms import EvaluationTransform
from pv_sparse.zoo.files import find


@dataclass(frozen=True)
class Weights:
    """Weights and how to use them.

    Attributes:
        name: of the zoo, `architecture.source_dataset`; or the path of a file that carries this record.
        build: `builder`, a function of pv_sparse, and its `arguments`.
        file: where the tensors are and what they hash to: `package`, `name`, `extra`, `sha256`; or `path`.
        sampler: arguments of `segment_indices`.
        input: arguments of `EvaluationTransform`.
        categories: the classes, in the order of the logits.
        origin: `url`, `license`, and the `converter` that maps their keys to ours; None where they are ours already.
        metrics: published figures, each with its protocol and who measured it.
        description: one line for people.
    """

    name: str
    build: Mapping[str, Any]
    file: Mapping[str, str]
    sampler: Mapping[str, Any]
    input: Mapping[str, Any]
    categories: tuple[str, ...]
    origin: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[Mapping[str, Any], ...] = ()
    description: str = ""

    @property
    def is_available(self) -> bool:
        """Whether the file is here, so that loading needs no installation or download."""
        return find(self.file) is not None

    def indices(self, num_frames: int) -> Tensor:
        """The frames these weights want of a video: (segments, frames_per_segment) int64."""
        return segment_indices(num_frames, **self.sampler)

    def transform(self) -> EvaluationTransform:
        """What turns a clip (3, T, H, W) into the model's input."""
        return EvaluationTransform(**self.input)


def list_weights(available: bool = False) -> list[str]:
    """The names of the zoo, sorted; with `available`, only those whose file is here."""
    return sorted(name for name, weights in _zoo().items() if weights.is_available or not available)


def get_weights(name: str) -> Weights:
    """The record of this name; `WeightsError` offers near matches."""
    if name in _zoo():
        return _zoo()[name]
    near = difflib.get_close_matches(name, _zoo(), n=3, cutoff=0.4)
    offer = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(list_weights())}"
    raise WeightsError(f"weights {name!r} are unknown, and no such file exists: {offer}")


@functools.cache
def _zoo() -> dict[str, Weights]:
    records: dict[str, Weights] = {}
    for path in sorted(resource_dir("model_zoo").glob("*.yaml")):
        for name, record in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            records[name] = Weights(name=name, **{**record, "categories": _read_categories(record["categories"])})
    return records


def _read_categories(name: str) -> tuple[str, ...]:
    return tuple((resource_dir("model_zoo") / "categories" / f"{name}.txt").read_text(encoding="utf-8").splitlines())
