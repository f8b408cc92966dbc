"""How far the logits moved: what an optimised model is run on beside the given one, and the record of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pv_sparse.models.backbone import Backbone
from pv_sparse.models.eco import EcoHead
from pv_sparse.models.fusion import FrameEnsemble, LateFusion
from pv_sparse.models.resnet3d import C3DResNet18
from pv_sparse.models.segment_net import SegmentNet

Videos = Tensor | Mapping[str, Tensor]
SEGMENTS, ECO_SEGMENTS = 8, 16
IMAGE_SIZES = (224, 299)  # the first that the 2-D network takes; inception_v3_trn takes the second
C3D_SHAPE = (16, 112, 112)
LIMITS = {"cpu": 1e-3, "gpu": 0.1}  # of what float32 moves, in standard deviations; cuDNN may use TF32
ROUNDING = 1e-5  # of the largest logit


@dataclass(frozen=True)
class Optimization:
    """What `optimize` did, and how far the logits moved on the check input.

    Attributes:
        steps: what was done, a short sentence each.
        precision: `float32`, `bfloat16` or `float16`.
        largest_difference: between a logit of the given model and the same of the result.
        relative_difference: that, over the standard deviation of the given model's logits; of the task where it is
            largest.
        top1_unchanged: whether every video of the check input has the same best class, in every task.
    """

    steps: tuple[str, ...]
    precision: str
    largest_difference: float
    relative_difference: float
    top1_unchanged: bool

    def __str__(self) -> str:
        moved = f"{self.largest_difference:.1e} ({self.relative_difference:.1e} of their standard deviation)"
        best = "the best class is the same" if self.top1_unchanged else "the best class is another"
        return f"{'; '.join(self.steps)}\non the check input, logits move by at most {moved}; {best}"


def by_task(outputs: Any) -> dict[str, Tensor]:
    """Logits by task, or by no name; `ValueError` for what are no logits."""
    tasks = outputs if isinstance(outputs, Mapping) else {"": outputs}
    if not tasks or not all(isinstance(logits, Tensor) for logits in tasks.values()):
        raise ValueError(
            f"the model gives a {type(outputs).__name__}: it must give logits, a Tensor or a dict of Tensors by task"
        )
    return dict(tasks)


def compared(
    steps: list[str], precision: str, given: Mapping[str, Tensor], result: Mapping[str, Tensor], is_on_gpu: bool = False
) -> Optimization:
    """The record, from the logits (N, num_classes) of both models by task.

    Raises:
        ValueError: logits that are no finite numbers, or, in float32, that are others.
    """
    wide = [(given[task].double(), result[task].double()) for task in given]
    if not all(bool(before.isfinite().all()) for before, _ in wide):
        raise ValueError("the model's own logits on the check input are no finite numbers: give another check_input")
    if precision != "float32" and not all(bool(after.isfinite().all()) for _, after in wide):
        raise ValueError(f"precision={precision!r} gives logits that are no finite numbers: try bfloat16 or float32")
    moves = [_move(before, after) for before, after in wide]
    largest, relative = (float(torch.stack(values).max()) for values in zip(*moves, strict=True))
    if precision == "float32":
        _check_float32(wide, moves, LIMITS["gpu" if is_on_gpu else "cpu"])
    same = all(bool((before.argmax(dim=-1) == after.argmax(dim=-1)).all()) for before, after in wide)
    return Optimization(tuple(steps), precision, largest, relative, same)


def _move(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of any logit, also over their standard deviation; NaN where one is."""
    largest = (after - before).abs().max()
    return largest, torch.zeros_like(largest) if largest == 0 else largest / before.std(correction=0)


def _check_float32(wide: list[tuple[Tensor, Tensor]], moves: list[tuple[Tensor, Tensor]], limit: float) -> None:
    for (before, _), (largest, relative) in zip(wide, moves, strict=True):
        is_rounding = largest <= ROUNDING * before.abs().max()  # for logits that are almost alike
        if not (relative <= limit or is_rounding):
            raise ValueError(
                f"the model cannot be optimised safely: its logits move by {float(largest):.1e}, {float(relative):.1e} "
                f"of their standard deviation, and {limit:g} is allowed in float32: use it as it is, and report this "
                "as a bug"
            )


def example_input(model: nn.Module) -> Videos:
    """A random normalised video that the model takes: one of each modality for a `LateFusion`; the same every time.

    Raises:
        ValueError: a model of another kind than this package's.
    """
    if isinstance(model, LateFusion):
        return {modality: _example_video(net) for modality, net in model.models.items()}
    return _example_video(model)


def _example_video(model: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(_video_shape(model), generator=generator).to(next(model.parameters()).device)


def _video_shape(model: nn.Module) -> tuple[int, ...]:
    if isinstance(model, FrameEnsemble):
        _, channels, _, height, width = _video_shape(model.models[0])
        return (1, channels, model.num_segments, height, width)
    if isinstance(model, C3DResNet18):
        return (1, model.net.stem.in_channels, *C3D_SHAPE)
    if not isinstance(model, SegmentNet) or not isinstance(model.backbone, Backbone):
        own = model.backbone if isinstance(model, SegmentNet) else model
        raise ValueError(f"what a {type(own).__name__} takes is not known: give check_input, a batch of its input")
    length = model.frames_per_segment
    number = model.num_segments or (ECO_SEGMENTS if isinstance(model.head, EcoHead) else SEGMENTS)
    size = _image_size(model.backbone)
    return (1, model.backbone.in_channels // length, number * length, size, size)


def _image_size(backbone: Backbone) -> int:
    for size in IMAGE_SIZES:
        try:
            backbone.measure_channels(size)
        except ValueError:  # branches that cannot be joined
            continue
        return size
    return IMAGE_SIZES[0]
