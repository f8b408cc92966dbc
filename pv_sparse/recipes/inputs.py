"""What a model is fed with: which frames of a video, and what is done to their pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import nn

from pv_sparse.data.clip_sampling import SegmentClipSampler
from pv_sparse.models.segment_net import SegmentNet
from pv_sparse.transforms import RandomLabelFlip, create_sparse_video_transform
from pv_sparse.transforms.normalization import get_normalization

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
        snap, decode_budget: of `SegmentClipSampler`.
        normalization: a name of `NORMALIZATIONS`.
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
    normalization: str = "imagenet"
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

    @classmethod
    def for_model(cls, model: SegmentNet, backbone: str, given: Mapping[str, Any]) -> "ClipInput":
        """What this model takes, as far as it shows, with what is given in its place; None gives nothing.

        Args:
            model: of one of the builders.
            backbone: the name it was built with.
            given: attributes of this class. A `size` takes the `resize` along, in the same ratio.

        Raises:
            ValueError: a number of segments that the model cannot take.
        """
        told = {name: value for name, value in given.items() if value is not None}
        wanted = _shown_by(model, backbone) | told
        wanted.setdefault("resize", round(wanted["size"] * 256 / 224))
        if model.num_segments is not None and wanted["num_segments"] != model.num_segments:
            raise ValueError(
                f"input.num_segments={wanted['num_segments']} does not fit the model, which is made for "
                f"{model.num_segments}: change model.num_segments alone"
            )
        return cls(**wanted)

    def sampler(self, training: bool) -> SegmentClipSampler:
        """Which frames."""
        return SegmentClipSampler(**self.sampling(training))

    def sampling(self, training: bool) -> dict[str, Any]:
        """The arguments of `SegmentClipSampler`."""
        keys = ("num_segments", "frames_per_segment", "snap", "decode_budget")
        return {"rule": self.train_rule if training else self.eval_rule, **{key: getattr(self, key) for key in keys}}

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


INPUT_KEYS = tuple(own.name for own in fields(ClipInput))
