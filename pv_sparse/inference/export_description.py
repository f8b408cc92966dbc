"""What a program must know of an exported model that has no pv_sparse: how it is fed, and what comes out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pv_sparse.data.rules import get_rule
from pv_sparse.inference.export_torch import BATCH, INPUT, OUTPUT
from pv_sparse.transforms.difference import TemporalDifference
from pv_sparse.transforms.evaluation import EvaluationTransform
from pv_sparse.zoo.weights import Weights


def describe(
    model: nn.Module, example: Tensor, outputs: Mapping[str, Tensor], record: Weights | None
) -> dict[str, Any]:
    """Plain values, for JSON: `input`, `outputs`, `preprocessing`, `sampling`, `categories`, and where it all is from.

    Args:
        model: whose activation, where it has one, is named.
        example: (N, C, T, H, W).
        outputs: of the model for it, by name, each (N, classes).
        record: None leaves out what only it knows.

    Raises:
        ValueError: an example that is not what the record makes of a video; other classes than its categories.
    """
    activation = getattr(model, "activation", None)
    described: dict[str, Any] = {
        "input": {"name": INPUT, "axes": "N C T H W", **_shape(example)},
        "outputs": [{"name": name, **_shape(values)} for name, values in outputs.items()],
        "activation": None if activation is None else type(activation).__name__,
    }
    if record is None:
        return described
    described |= {"preprocessing": preprocessing(record), "sampling": sampling(record)}
    _check_video(example, described, record)
    _check_classes(outputs, record)
    return described | _identity(record)


def preprocessing(record: Weights) -> dict[str, Any]:
    """The constants of one look, in the order of their use, none left to a default.

    A frame, RGB (or, of flow, x and y), uint8: its shorter side to `resize` pixels; the square of `crop` pixels in
    the centre; channels in `channel_order`; pixel * value_range / 255, less `mean`, divided by `std`. Where
    `temporal_difference` is a number, each segment has that many frames, and the model reads every one less the one
    before.
    """
    steps = list(record.transform(one_view=True).modules())
    still = next(step for step in steps if isinstance(step, EvaluationTransform))
    differences = [step.frames_per_segment for step in steps if isinstance(step, TemporalDifference)]
    wanted = still.normalize.normalization
    return {
        "resize": still.resize,
        "crop": still.crop,
        "interpolation": still.interpolation,
        "antialias": True,
        "channel_order": wanted.channel_order,
        "value_range": float(wanted.value_range),
        "mean": [float(value) for value in wanted.mean],
        "std": [float(value) for value in wanted.std],
        "temporal_difference": differences[0] if differences else None,
    }


def sampling(record: Weights) -> dict[str, Any]:
    """The arguments of `segment_indices` for one look, none left to a default; and of how many views its rule is."""
    given = dict(record.one_view or record.sampling)
    rule = get_rule(given.get("rule", "center"))
    return {"rule": "center", "frames_per_segment": 1, "short": rule.short, "num_views": rule.num_views, **given}


def _shape(values: Tensor) -> dict[str, Any]:
    return {"dtype": str(values.dtype).removeprefix("torch."), "shape": [BATCH, *values.shape[1:]]}


def _check_video(example: Tensor, described: Mapping[str, Any], record: Weights) -> None:
    constants, frames = described["preprocessing"], described["sampling"]
    length = frames["frames_per_segment"] - (constants["temporal_difference"] is not None)
    size = constants["crop"]
    made = (len(constants["mean"]), frames["num_segments"] * length, size, size)
    if tuple(example.shape[1:]) != made:
        raise ValueError(
            f"an example of shape {tuple(example.shape)} was given; of a video the record of {record.name} makes "
            f"{made}: give an example of those, or replace(record, input=..., one_view=...)"
        )


def _check_classes(outputs: Mapping[str, Tensor], record: Weights) -> None:
    names = record.categories if isinstance(record.categories, dict) else {OUTPUT: record.categories}
    given = {name: values.shape[-1] for name, values in outputs.items()}
    known = {name: len(own) for name, own in names.items()}
    if given != known:
        raise ValueError(
            f"the model gives {given}, and the record of {record.name} has the categories of {known}: give "
            "weights.with_categories(names)"
        )


def _identity(record: Weights) -> dict[str, Any]:
    origin = {key: value for key, value in record.origin.items() if key != "converter"}
    return {
        "modality": record.modality,
        "multi_label": record.multi_label,
        # A file is named, not where it lay.
        "weights": Path(record.name).name if "path" in record.file else record.name,
        "description": record.description,
        "dataset": record.dataset,
        "license": origin.pop("license", "unstated"),
        "origin": origin,
        "published_test": {"sampling": dict(record.sampling), "num_crops": record.input.get("num_crops", 1)},
        "category_order": record.category_order,
        "categories": record.categories,
    }
