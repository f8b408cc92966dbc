"""What a model is fed with: which frames of a video, and what is done to their pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from torch import nn

from pv_sparse.data.clip_sampling import SegmentClipSampler
from pv_sparse.data.rules import get_rule
from pv_sparse.data.selectors import get_selector
from pv_sparse.models.segment_net import SegmentNet
from pv_sparse.transforms import NORMALIZATIONS, Normalization, RandomLabelFlip, create_sparse_video_transform
from pv_sparse.transforms.normalization import get_normalization
from pv_sparse.zoo.weights import Weights

SEGMENTS_OF_TSN = 8
# Networks of torchvision, and those without pretrained weights, take ImageNet's.
NORMALIZATION_OF = {
    "bn_inception": "bn_inception",
    "inception_v3_trn": "bn_inception",
    "efficientnet_lite0": "efficientnet_lite",
}
SIZE_OF = {"inception_v3_trn": 299}
Pairs = Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class ClipInput:
    """From a video to a model's input, in training and in evaluation.

    Attributes:
        num_segments: S.
        frames_per_segment: frames that are read for each segment; for RGB difference one more than the model's L.
        modality: `rgb`, `rgbdiff`, or `flow` from folders of pictures.
        train_rule, eval_rule: sampling rules of `segment_indices`.
        snap, decode_budget, select: of `SegmentClipSampler`.
        normalization: a name of `NORMALIZATIONS`, or a `Normalization`.
        size: pixels of the sides of what the model sees.
        resize: pixels of the shorter side before the evaluation's centre crop.
        interpolation: `bilinear` or `bicubic`.
        scales, max_distort, num_positions: of training's `MultiScaleCrop`.
        flip_probability: of training's flips.
        label_flips: what a flip does to labels, as `RandomLabelFlip` takes it; None leaves them as they are.
    """

    num_segments: int = SEGMENTS_OF_TSN
    frames_per_segment: int = 1
    modality: str = "rgb"
    train_rule: str = "random"
    eval_rule: str = "center"
    snap: str | None = None
    decode_budget: int | None = None
    select: str | None = None
    normalization: str | Normalization = "imagenet"
    size: int = 224
    resize: int = 256
    interpolation: str = "bilinear"
    scales: Sequence[float] = (1, 0.875, 0.75, 0.66)
    max_distort: int = 1
    num_positions: int = 13
    flip_probability: float = 0.5
    label_flips: str | Pairs | Mapping[str, str | Pairs] | None = None

    def __post_init__(self) -> None:
        if self.modality not in ("rgb", "rgbdiff", "flow"):
            raise ValueError(f"modality={self.modality!r} is unknown: choose one of rgb, rgbdiff, flow")
        for name in ("train_rule", "eval_rule"):
            rule = get_rule(getattr(self, name))
            if rule.num_views > 1:
                raise ValueError(f"{name}={getattr(self, name)!r} gives {rule.num_views} views: take one of one view")
        if get_rule(self.eval_rule).is_random:
            raise ValueError(f"eval_rule={self.eval_rule!r} draws its frames: take one that does not, such as 'center'")
        if self.select is not None:
            get_selector(self.select)

    @classmethod
    def for_model(cls, model: SegmentNet, backbone: str, given: Mapping[str, Any]) -> "ClipInput":
        """What this model takes, as far as it shows, with what is given in its place; None gives nothing.

        Args:
            model: of one of the builders.
            backbone: the name it was built with.
            given: attributes of this class. A `size` takes the `resize` along, in the same ratio.

        Raises:
            ValueError: segments, frames or a modality that the model cannot take.
        """
        told = {name: value for name, value in given.items() if value is not None}
        shown = _shown_by(model, backbone)
        wanted = shown | told
        wanted.setdefault("resize", round(wanted["size"] * 256 / 224))
        if model.num_segments is not None and wanted["num_segments"] != model.num_segments:
            raise ValueError(
                f"input.num_segments={wanted['num_segments']} does not fit the model, which is made for "
                f"{model.num_segments}: change model.num_segments alone"
            )
        for name in ("frames_per_segment", "modality"):
            if wanted[name] != shown[name]:
                raise ValueError(f"input.{name}={wanted[name]} does not fit the model, which takes {shown[name]}")
        return cls(**wanted)

    @classmethod
    def for_weights(cls, weights: Weights, **given: Any) -> "ClipInput":
        """What these weights were trained on, as their record says, with attributes of this class in its place.

        A `size` takes the `resize` along, in the same ratio. Frames are drawn and taken by the rules of this class, and
        not by those of the record's test.
        """
        size, resize = weights.input.get("crop", 224), weights.input.get("resize", 256)
        is_difference = weights.modality == "rgbdiff"
        shown = {
            "num_segments": weights.sampling.get("num_segments", SEGMENTS_OF_TSN),
            "frames_per_segment": weights.build["arguments"].get("frames_per_segment", 1) + is_difference,
            "modality": weights.modality,
            "normalization": _normalization_of(weights),
            "size": size,
            "resize": round(given["size"] * resize / size) if "size" in given else resize,
            "interpolation": weights.input.get("interpolation", "bilinear"),
        }
        return cls(**(shown | given))

    def record(self, weights: Weights, classes: Sequence[str]) -> Weights:
        """To save a model with that started from these weights, and was tuned to other classes with this input."""
        return replace(
            weights.with_categories(classes), sampling=self.sampling(False), one_view={}, input=self.evaluation_input()
        )

    def sampler(self, training: bool) -> SegmentClipSampler:
        """Which frames."""
        return SegmentClipSampler(**self.sampling(training))

    def sampling(self, training: bool) -> dict[str, Any]:
        """The arguments of `SegmentClipSampler`."""
        given = {
            "num_segments": self.num_segments,
            "frames_per_segment": self.frames_per_segment,
            "rule": self.train_rule if training else self.eval_rule,
            "snap": self.snap,
            "decode_budget": self.decode_budget,
            "select": self.select,
        }
        return {key: value for key, value in given.items() if value is not None}

    def transform(self, training: bool) -> nn.Module:
        """From a sample of the data set to one with the model's input as `video`."""
        common = ("normalization", "size", "resize", "interpolation", "scales", "max_distort", "num_positions")
        is_difference = self.modality == "rgbdiff"
        swapped = self.label_flips is not None
        transform = create_sparse_video_transform(
            "train" if training else "val",
            **{key: getattr(self, key) for key in common},
            flip_probability=0.0 if swapped else self.flip_probability,
            temporal_difference=is_difference,
            frames_per_segment=self.frames_per_segment if is_difference else None,
        )
        if self.label_flips is None or not training:
            return transform
        return nn.Sequential(RandomLabelFlip(self.label_flips, self.flip_probability), transform)

    def evaluation_input(self) -> dict[str, Any]:
        """`Weights.input` of a model that was trained so."""
        pixels = asdict(get_normalization(self.normalization))
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in pixels.items()}
        return {"resize": self.resize, "crop": self.size, "interpolation": self.interpolation, **plain}


def _shown_by(model: SegmentNet, backbone: str) -> dict[str, Any]:
    channels = model.backbone.in_channels // model.frames_per_segment  # type: ignore[operator]
    is_flow, is_difference = channels == 2, channels == 3 and model.frames_per_segment > 1
    normalization = NORMALIZATION_OF.get(backbone, "imagenet")
    if is_flow:
        normalization = "bn_inception_flow" if normalization == "bn_inception" else "imagenet_flow"
    return {
        "num_segments": model.num_segments or SEGMENTS_OF_TSN,
        "frames_per_segment": model.frames_per_segment + is_difference,
        "modality": "flow" if is_flow else "rgbdiff" if is_difference else "rgb",
        "normalization": normalization,
        "size": SIZE_OF.get(backbone, 224),
    }


def _normalization_of(weights: Weights) -> str | Normalization:
    """By its name, where it has one."""
    imagenet = NORMALIZATIONS["imagenet"]
    told = {own.name: weights.input.get(own.name, getattr(imagenet, own.name)) for own in fields(Normalization)}
    found = Normalization(**told)
    return next((name for name, known in NORMALIZATIONS.items() if _is_close(known, found)), found)


def _is_close(first: Normalization, second: Normalization) -> bool:
    if (first.value_range, first.channel_order) != (second.value_range, second.channel_order):
        return False
    return bool(np.allclose([*first.mean, *first.std], [*second.mean, *second.std]))
