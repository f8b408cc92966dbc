"""Test protocols: which frames and crops of a video are shown to a model, and how its answers are averaged."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from pv_sparse.data.clip_sampling import SegmentClipSampler
from pv_sparse.data.rules import get_rule
from pv_sparse.errors import WeightsError
from pv_sparse.resources import resource_dir
from pv_sparse.transforms.factory import SampleTransform
from pv_sparse.zoo.weights import Weights

AVERAGES = ("logits", "scores")
CROPS = (1, 3, 10)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A test, for whatever weights it is given; what is None is as in their record.

    A video is seen in `num_crops` times the rule's views: crops outside, clips inside, so that of 3 crops and 2 clips
    views 0 and 1 are the left crop of either clip (mmaction2's order).

    Attributes:
        name: for people and files.
        rule: of `segment_indices`; None is the record's, with its number of segments.
        num_segments: S; None with a `rule` is the number of one look, which is what the weights were trained with.
        num_crops: 1 (the centre), 3 (`ThreeCrop`) or 10 (`TenCrop`).
        size: pixels of the sides of the crops.
        resize: pixels of the shorter side before cropping.
        average: over views: `logits`, and then softmax (tsn-pytorch, TRN-pytorch, temporal-shift-module, mmaction2's
            TSN); or `scores`, after softmax (mmaction2's TRN). None is the way of the record's publisher. Sigmoid
            stands for softmax where several classes can be right.

    Raises:
        ValueError: an unknown rule or average, or a number that is not allowed.
    """

    name: str
    rule: str | None = None
    num_segments: int | None = None
    num_crops: int | None = None
    size: int | None = None
    resize: int | None = None
    average: str | None = None

    def __post_init__(self) -> None:
        if self.rule is not None and get_rule(self.rule).is_random:
            raise ValueError(
                f"rule={self.rule!r} draws its frames: a test needs a rule without chance, such as 'center'"
            )
        if self.num_crops not in (None, *CROPS):
            raise ValueError(f"num_crops={self.num_crops} is not allowed: choose one of {', '.join(map(str, CROPS))}")
        if self.average not in (None, *AVERAGES):
            raise ValueError(f"average={self.average!r} is unknown: choose one of {', '.join(AVERAGES)}")
        for name in ("num_segments", "size", "resize"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ValueError(f"{name}={number} is not allowed: it must be at least 1")

    def record(self, weights: Weights) -> Weights:
        """The weights' record with this protocol's `sampling` and `input` in the place of the published test's.

        Raises:
            WeightsError: a number of segments that the model cannot take.
            ValueError: crops larger than what they are cut from, and what else sampler and transform refuse.
        """
        own = {"num_crops": self.num_crops, "crop": self.size, "resize": self.resize}
        told = {key: value for key, value in own.items() if value is not None}
        tested = replace(weights, sampling=self._sampling(weights), input={**weights.input, **told})
        self._check_segments(tested, weights.sampling.get("num_segments"))
        tested.transform()
        tested.sampler()
        return tested

    def sampler(self, weights: Weights) -> SegmentClipSampler:
        """Which frames: all clips of a video as one, clip after clip."""
        return self.record(weights).sampler()

    def transform(self, weights: Weights) -> nn.Module:
        """From a sample of `SparseVideoDataset` to one with `video` (C, num_views * S * L, size, size), normalised."""
        return SampleTransform(self.record(weights).transform())

    def num_views(self, weights: Weights) -> int:
        """How many answers of the model make one for a video."""
        return self.record(weights).num_views

    def average_for(self, weights: Weights) -> str:
        """`logits` or `scores`."""
        return self.average or weights.view_average

    def describe(self, weights: Weights) -> dict[str, Any]:
        """Plain values for files: what of this protocol and the record came together."""
        tested = self.record(weights)
        return {
            "name": self.name,
            **tested.sampling,
            "num_crops": tested.input.get("num_crops", 1),
            "size": tested.input.get("crop", 224),
            "resize": tested.input.get("resize", 256),
            "num_views": self.num_views(weights),
        }

    def _sampling(self, weights: Weights) -> dict[str, Any]:
        told = {} if self.num_segments is None else {"num_segments": self.num_segments}
        if self.rule is None:
            return {**weights.sampling, **told}
        one_look = (weights.one_view or weights.sampling).get("num_segments", 8)
        kept = {key: weights.sampling[key] for key in ("frames_per_segment", "short") if key in weights.sampling}
        return {"rule": self.rule, "num_segments": one_look, **kept, **told}

    def _check_segments(self, tested: Weights, published: int | None) -> None:
        wanted = tested.sampling.get("num_segments", 8)
        own = tested.build["arguments"].get("num_segments", published)
        if wanted is None:
            raise WeightsError(
                f"{tested.name} takes as many frames as a video is long: choose a protocol with num_segments"
            )
        if tested.build["builder"] == "create_trn" and wanted != own:
            raise WeightsError(
                f"protocol {self.name} takes {wanted} segments, and {tested.name} is a TRN of exactly {own}: choose "
                "published, one_view or three_crops_twice"
            )
        if tested.build["builder"] in ("create_eco", "create_eco_lite") and wanted % 4:
            raise WeightsError(
                f"protocol {self.name} takes {wanted} segments, and {tested.name} is an ECO, for multiples of 4: "
                "choose published or one_view"
            )


def list_protocols() -> list[str]:
    """The names of the protocols in `configs/protocol`."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def get_protocol(name: str) -> Protocol:
    """The protocol of this name; `ValueError` lists the names there are."""
    if name not in list_protocols():
        raise ValueError(f"protocol={name!r} is unknown: choose one of {', '.join(list_protocols())}")
    values = yaml.safe_load((_folder() / f"{name}.yaml").read_text(encoding="utf-8"))
    del values["_target_"]
    return Protocol(**values)


def _folder() -> Path:
    return resource_dir("configs") / "protocol"
