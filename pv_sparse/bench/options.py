"""What `pv-sparse bench` can be told, and what of it goes together."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from pv_sparse.zoo.saving import check_output

EARLY_EXIT_ALONE = ("--data", "--max-segments", "--select", "--save")
OTHERS_ALONE = ("--video", "--batch-size", "--rounds")


@dataclass(frozen=True)
class BenchOptions:
    """What the command was told.

    Attributes:
        video: a file to decode; None makes one.
        batch_size: videos that the model is shown at a time.
        rounds: measured runs of each thing.
        threads: of torch; None is its own choice. Decoding has FFmpeg's.
        device: where the model runs; None is cuda where torch sees a GPU, else cpu.
        precision, compiled: of `pv_sparse.optimize`, whose model is measured beside the plain one; None is float32.
        early_exit: measure when recognition may stop, on labelled videos; the fields after it are of this alone.
        data: a folder with a folder of videos for each class.
        max_segments: of early exit; None is its own default.
        select: the name of a selector; None is coarse to fine.
        save: a file for the weights with their temperature.
    """

    video: str | None = None
    batch_size: int = 1
    rounds: int = 20
    threads: int | None = None
    device: str | None = None
    precision: str | None = None
    compiled: bool = False
    early_exit: bool = False
    data: str | None = None
    max_segments: int | None = None
    select: str | None = None
    save: str | None = None


def check_together(weights: Sequence[str], options: BenchOptions, paper: bool) -> None:
    """`ValueError` for what does not go together, before anything is measured."""
    given = [f"--{name.replace('_', '-')}" for name in _changed(options)]
    if options.early_exit:
        if paper:
            raise ValueError("--early-exit measures weights, --paper the networks of ECO's paper: give one of them")
        _check_early_exit(weights, options, given)
        return
    alone = [name for name in given if name in EARLY_EXIT_ALONE]
    if alone:
        raise ValueError(f"{alone[0]} is of --early-exit: give both, or leave out {', '.join(alone)}")
    if paper and (weights or options.video):
        told = " ".join([*weights, *([f"--video {options.video}"] if options.video else [])])
        raise ValueError(f"--paper measures the networks of ECO's paper alone: leave out {told}")


def _check_early_exit(weights: Sequence[str], options: BenchOptions, given: Sequence[str]) -> None:
    if len(weights) > 1:
        raise ValueError(f"--early-exit measures one model, and {len(weights)} were given: give {weights[0]} alone")
    if options.data is None:
        raise ValueError("--early-exit needs labelled videos: give --data DIR, with a folder of videos for each class")
    others = [name for name in given if name in OTHERS_ALONE]
    if others:
        raise ValueError(f"--early-exit shows each video of --data once, by itself: leave out {', '.join(others)}")
    if options.save is not None:
        check_output(options.save)


def _changed(options: BenchOptions) -> list[str]:
    """The names of the fields that are not as by default."""
    return [own.name for own in fields(options) if getattr(options, own.name) != own.default]
