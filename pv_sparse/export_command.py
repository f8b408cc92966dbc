"""`pv-sparse export`: weights to a file that other programs run."""

from dataclasses import replace
from pathlib import Path

import click
import torch
from torch import Tensor

from pv_sparse.inference.export import check_output, export_model
from pv_sparse.inference.export_description import preprocessing, sampling
from pv_sparse.transforms.difference import TemporalDifference
from pv_sparse.transforms.normalization import Normalization, NormalizeClip
from pv_sparse.zoo.loading import find_weights, load_model
from pv_sparse.zoo.weights import Weights


def run(weights: str, output: str, segments: int | None, size: int | None) -> None:
    """Export, and print a line for each file.

    Raises:
        PvSparseError, OSError, ValueError: in one line, what does not fit; nothing is written then.
        ModuleNotFoundError: for ONNX, a package that is not installed.
    """
    check_output(output)
    record = of_shape(find_weights(weights), segments, size)
    report = export_model(load_model(record), output, example_video(record), record)
    for path in report.files:
        click.echo(
            f"{path}: {_size_told(path)}, largest difference {report.largest_difference:.1e}, {report.seconds:.1f} s"
        )


def of_shape(record: Weights, segments: int | None = None, size: int | None = None) -> Weights:
    """The record for one look of so many segments, at frames of so many pixels that show what its own show."""
    if segments is not None:
        record = replace(record, one_view={**(record.one_view or record.sampling), "num_segments": segments})
    if size is not None:
        own = preprocessing(record)
        resize = max(size, round(own["resize"] * size / own["crop"]))
        record = replace(record, input={**record.input, "crop": size, "resize": resize})
    return record


def example_video(record: Weights) -> Tensor:
    """(1, C, T, crop, crop) float32: seeded random pixels, as the record normalises them."""
    constants, frames = preprocessing(record), sampling(record)
    wanted = {key: constants[key] for key in ("mean", "std", "value_range", "channel_order")}
    shape = (len(wanted["mean"]), frames["num_segments"] * frames["frames_per_segment"], *2 * (constants["crop"],))
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    clip = NormalizeClip(Normalization(**wanted))(pixels)
    if constants["temporal_difference"] is not None:
        clip = TemporalDifference(constants["temporal_difference"])(clip)
    return clip[None]


def _size_told(path: Path) -> str:
    num_bytes = path.stat().st_size
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e6 else f"{num_bytes / 1e3:.1f} kB"
