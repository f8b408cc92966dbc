"""`pv-sparse bench`: what is measured is chosen, checked before anything is, and printed."""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import torch

from pv_sparse.bench.clip import write_clip
from pv_sparse.bench.early_exit_report import measure_early_exit
from pv_sparse.bench.machine import Machine, machine
from pv_sparse.bench.memory import enough_memory, peak_notes
from pv_sparse.bench.options import BenchOptions, check_together
from pv_sparse.bench.paper import BUDGET_SECONDS, geometric_mean, measure_paper, paper_networks, paper_table
from pv_sparse.bench.published import NOTES
from pv_sparse.bench.rows import Row, measure_weights, rows_table
from pv_sparse.bench.timing import LEAST_ROUNDS
from pv_sparse.data.video import SparseVideo
from pv_sparse.early_exit import EarlyExit
from pv_sparse.inference import Optimization
from pv_sparse.looking import Viewer
from pv_sparse.recognition import DEFAULT_WEIGHTS, Recognizer, checked_device, default_device
from pv_sparse.zoo import files
from pv_sparse.zoo.loading import find_weights, load_model
from pv_sparse.zoo.saving import save_model
from pv_sparse.zoo.scorers import load_scorer
from pv_sparse.zoo.weights import Weights

MADE = "made for this"
DEFAULT_PRECISION = "float32"
FEWER_ROUNDS = (
    f"Rows whose warm-up and rounds take more than {BUDGET_SECONDS:g} s have fewer rounds, but at least {LEAST_ROUNDS}."
)


def run(weights: Sequence[str], options: BenchOptions, paper: bool, as_json: bool) -> None:
    """Measure and print: weights on a video, or early exit on many, or with `paper` the networks of ECO's paper.

    Raises:
        ValueError: a device or a precision that cannot be used, a batch that does not fit into its memory, or options
            that do not go together.
        PvSparseError: a compilation without a compiler.
        VideoDecodeError: a video that cannot be read.
        WeightsError: weights that are unknown, cannot be had, or read optical flow.
    """
    check_together(weights, options, paper)
    device = checked_device(default_device(options.device))
    with torch_threads(options.threads), enough_memory(options.batch_size, device):
        if paper:
            result, lines = _paper(options, device)
        elif options.early_exit:
            result, lines = _early_exit(weights[0] if weights else DEFAULT_WEIGHTS, options, device)
        else:
            result, lines = _weights(weights or (DEFAULT_WEIGHTS,), options, device)
    click.echo(json.dumps(result, indent=1) if as_json else "\n".join(lines))


@contextmanager
def torch_threads(number: int | None) -> Iterator[None]:
    """Meanwhile, torch computes with so many threads; None leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if number is None else number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _early_exit(name: str, options: BenchOptions, device: str) -> tuple[dict[str, Any], list[str]]:
    weights = _found(name)
    report = measure_early_exit(
        weights,
        str(options.data),
        device,
        max_segments=EarlyExit.max_segments if options.max_segments is None else options.max_segments,
        select=options.select,
        precision=options.precision,
        compiled=options.compiled,
        tell=teller(),
    )
    here, lines = machine(), report.lines()
    if options.save is not None:
        fitted = replace(weights, exit_temperature=report.calibration.temperature)
        save_model(load_model(weights), options.save, fitted, load_scorer(weights) if weights.scorer else None)
        lines += ["", f"{options.save} has the weights, and the temperature in their record"]
    own = {"device": device, "precision": options.precision, "compiled": options.compiled, "saved": options.save}
    return {"machine": asdict(here), **own, **report.as_dict()}, [*here.lines(), f"On {device}", *lines]


def _paper(options: BenchOptions, device: str) -> tuple[dict[str, Any], list[str]]:
    rows, done = measure_paper(
        paper_networks(),
        batch_size=options.batch_size,
        rounds=options.rounds,
        device=device,
        precision=options.precision or DEFAULT_PRECISION,
        compiled=options.compiled,
        tell=teller(),
    )
    here, settings, warm_ups = machine(), _settings(options, device), rows[0].plain.warm_ups
    notes = (*NOTES, FEWER_ROUNDS, *peak_notes(device))
    speed_up = geometric_mean(row.speed_up for row in rows)
    cpu_speed_up = geometric_mean(row.cpu_speed_up for row in rows)
    result = {
        "machine": asdict(here),
        **settings,
        "notes": notes,
        "optimization": {network: asdict(record) for network, record in done.items()},
        "speed_up": speed_up,
        "cpu_speed_up": cpu_speed_up,
        "rows": [{**asdict(row), "speed_up": row.speed_up, "cpu_speed_up": row.cpu_speed_up} for row in rows],
    }
    lines = [
        *_head(here, settings, warm_ups),
        *notes,
        "",
        *paper_table(rows),
        "",
        f"Optimized over plain, geometric mean: {speed_up:.2f} by the medians, {cpu_speed_up:.2f} by CPU time",
        *(f"{network}: {record}" for network, record in done.items()),
    ]
    return result, lines


def _weights(names: Sequence[str], options: BenchOptions, device: str) -> tuple[dict[str, Any], list[str]]:
    # What is missing is told before a video is made; one name twice is measured once.
    chosen = {weights.name: weights for weights in map(_found, names)}
    with _video(options.video) as path:
        seen = _describe(path, options.video)
        measured = {name: _measure(weights, path, options, device) for name, weights in chosen.items()}
    here, settings, notes = machine(), _settings(options, device), peak_notes(device)
    rows = [row for own, _ in measured.values() for row in own]
    result = {
        "machine": asdict(here),
        **settings,
        "notes": notes,
        "video": seen,
        "optimization": {name: asdict(record) for name, (_, record) in measured.items()},
        "rows": [asdict(row) for row in rows],
    }
    lines = [*_head(here, settings, rows[0].warm_ups), *notes, _video_line(seen)]
    for name, (own, record) in measured.items():
        lines += ["", name, *rows_table(own), f"optimized: {record}"]
    return result, lines


def _found(name: str) -> Weights:
    """Its file is here after this, and it can look at a video."""
    weights = find_weights(name)
    Viewer(weights)
    files.require(weights.file, weights.name)
    return weights


def _measure(weights: Weights, path: str, options: BenchOptions, device: str) -> tuple[list[Row], Optimization]:
    """The rows, and what `optimize` did. The models go with the call, so that the next one finds the memory free."""
    return measure_weights(
        Recognizer(weights, device),
        path,
        batch_size=options.batch_size,
        rounds=options.rounds,
        precision=options.precision or DEFAULT_PRECISION,
        compiled=options.compiled,
        tell=teller(),
    )


def teller() -> Callable[[str], object]:
    """Says on a terminal what is measured next; a log or a program is left alone."""
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda text: click.echo(f"measuring {text} ...", err=True)


@contextmanager
def _video(path: str | None) -> Iterator[str]:
    """The file, or one that is made and removed afterwards."""
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="pv-sparse-bench-") as folder:
        yield str(write_clip(Path(folder) / "clip.mp4"))


def _describe(path: str, given: str | None) -> dict[str, Any]:
    with SparseVideo(path) as video:
        return {
            "path": given or MADE,
            "num_frames": video.num_frames,
            "duration_seconds": float(video.duration_seconds),
            "width": video.width,
            "height": video.height,
            "codec": video.codec,
            "keyframes": len(video.keyframes),
        }


def _video_line(seen: dict[str, Any]) -> str:
    keyframes = f"{seen['keyframes']} keyframe{'' if seen['keyframes'] == 1 else 's'}"
    size, seconds = f"{seen['width']}x{seen['height']}", seen["duration_seconds"]
    return (
        f"Video: {seen['path']}, {seen['num_frames']} frames of {size}, {seconds:.1f} s, {seen['codec']}, {keyframes}"
    )


def _settings(options: BenchOptions, device: str) -> dict[str, Any]:
    own = {"precision": options.precision or DEFAULT_PRECISION, "compiled": options.compiled}
    return {"device": device, "batch_size": options.batch_size, "rounds": options.rounds, **own}


def _head(here: Machine, settings: dict[str, Any], warm_ups: int) -> list[str]:
    count = settings["batch_size"]
    shown = "1 video" if count == 1 else f"{count} videos"
    how = f"optimized in {settings['precision']}{', compiled' if settings['compiled'] else ''}; {shown} at a time"
    uncounted = f"{warm_ups} run{'' if warm_ups == 1 else 's'} of warm-up before the rounds"
    return [*here.lines(), f"On {settings['device']}: {how}; {uncounted}"]
