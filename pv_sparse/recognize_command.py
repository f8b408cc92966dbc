"""`pv-sparse recognize`: many videos through one recogniser, and what people and programs read of it."""

import json
import sys
import time
import traceback
from collections.abc import Iterable
from itertools import zip_longest
from operator import itemgetter
from pathlib import Path

import click
import torch
from tqdm import tqdm

from pv_sparse.data.video import SparseVideo
from pv_sparse.data.video_files import find_videos
from pv_sparse.early_exit import EarlyExit
from pv_sparse.looking import Look, look_at
from pv_sparse.models.logits import map_logits
from pv_sparse.recognition import ClassScore, Recognition, Recognizer, Span, best_classes, default_device
from pv_sparse.sheet import draw_sheet, sheet_paths
from pv_sparse.spotting import spot

# Of `--when`: spans of which a sheet shows a frame, and frames of each that it is chosen from.
SPANS_DRAWN, FRAMES_TRIED = 8, 5


def run(
    arguments: Iterable[str],
    weights: str | None,
    top_k: int,
    as_json: bool,
    sheet: str | None,
    all_views: bool,
    device: str | None,
    precision: str | None,
    compiled: bool,
    select: str | None,
    early_exit: EarlyExit | None,
    when: bool,
    debug: bool,
) -> int:
    """Recognise and print; returns how many videos, folders and lists failed. One failing leaves the others be."""
    _check_sheet(sheet)
    recognizer = Recognizer(weights, default_device(device), all_views, precision, compiled, select, early_exit)
    if optimization := getattr(recognizer.model, "optimization", None):
        click.echo(optimization, err=True)
    videos, failures = _find_all(arguments, recognizer)
    pictures = sheet_paths(Path(sheet), videos) if sheet else [None] * len(videos)
    if as_json:
        _print_json(failures)
    started = time.perf_counter()
    show_bar = len(videos) > 1 and sys.stderr.isatty()
    for video, picture in tqdm(list(zip(videos, pictures, strict=True)), unit="video", disable=not show_bar):
        result = _recognize(recognizer, video, top_k, when, picture, select, debug)
        if result.error is not None:
            failures.append(result)
        if as_json:
            _print_json([result])
        elif result.error is None:
            tqdm.write(_printable(_table(result)))
    _summarize(failures, len(videos), time.perf_counter() - started, recognizer)
    return len(failures)


def _check_sheet(sheet: str | None) -> None:
    """Before hours of work, not after."""
    if sheet is None:
        return
    if not Path(sheet).absolute().parent.is_dir():
        raise ValueError(f"--sheet {sheet}: there is no folder {Path(sheet).absolute().parent}")
    if Path(sheet).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"--sheet {sheet}: its name must end in .png or .jpg")


def _find_all(arguments: Iterable[str], recognizer: Recognizer) -> tuple[list[str], list[Recognition]]:
    videos: list[str] = []
    failures: list[Recognition] = []
    for argument in arguments:
        try:
            videos += find_videos(argument)
        except Exception as error:
            failures.append(recognizer.failure(argument, error))
    return videos, failures


def _recognize(
    recognizer: Recognizer, video: str, top_k: int, when: bool, picture: Path | None, select: str | None, debug: bool
) -> Recognition:
    try:
        if when:
            result = spot(recognizer, video, top_k)
            if picture is not None:
                _draw(recognizer, result, _best_moments(recognizer, result), picture, select)
            return result
        look, scores = recognizer.see(video)
        result = recognizer.describe(video, look, scores, top_k)
        if picture is not None:
            _draw(recognizer, result, look, picture, select)
        return result
    except Exception as error:
        if debug:
            traceback.print_exc()
        return recognizer.failure(video, error)


def _draw(recognizer: Recognizer, result: Recognition, look: Look, picture: Path, select: str | None) -> None:
    alone = recognizer.scores_of_each_frame(look)
    best_of_each = [
        best_classes(map_logits(itemgetter(number), alone), recognizer.weights.categories, 1)[0]
        for number in range(len(look.frames))
    ]
    draw_sheet(Path(result.path).name, look, best_of_each, result.classes or [], select).save(picture)


def _best_moments(recognizer: Recognizer, result: Recognition) -> Look:
    """A frame of the best span of each class, then of each second best; few are held, however long the video is."""
    of_classes = [sorted(entry.when or (), key=lambda span: -span.score) for entry in result.classes or ()]
    in_turns = [
        (entry, span)
        for spans in zip_longest(*of_classes)
        for entry, span in zip(result.classes or (), spans, strict=True)
        if span is not None
    ]
    with recognizer.viewer.open(result.path) as video:
        looked_at = result.frame_indices or [0]
        frames = {_best_frame(recognizer, video, looked_at, *pair) for pair in in_turns[:SPANS_DRAWN]}
        return look_at(video, torch.tensor(sorted(frames)))


def _best_frame(recognizer: Recognizer, video: SparseVideo, looked_at: list[int], entry: ClassScore, span: Span) -> int:
    """Of some frames in the span that were looked at, the one that alone speaks most for the class."""
    times = dict(zip(looked_at, video.frame_times_seconds[looked_at].tolist(), strict=True))
    middle = (span.start_seconds + span.end_seconds) / 2
    inside = [number for number, seconds in times.items() if span.start_seconds <= seconds < span.end_seconds]
    inside = inside or [min(times, key=lambda number: abs(times[number] - middle))]
    tried = inside[:: -(-len(inside) // FRAMES_TRIED)]
    alone = recognizer.scores_of_each_frame(look_at(video, torch.tensor(tried)))
    scores = alone[entry.task or ""] if isinstance(alone, dict) else alone
    return tried[int(scores[:, entry.index].argmax())]


def _print_json(results: Iterable[Recognition]) -> None:
    for result in results:
        tqdm.write(json.dumps(result.as_dict()))


def _table(result: Recognition) -> str:
    """A video for people: its frames, when they are shown, and its classes."""
    numbers, times, classes = result.frame_indices or [], result.frame_times_seconds or [], result.classes or []
    head = f"{result.path}: {len(numbers)} of {result.num_frames} frames"
    if any(entry.when for entry in classes):
        rows = [f"  {entry.score:.4f}   {entry}: {_times(entry.when)}" for entry in classes]
    else:
        head += "\n  frame    " + " ".join(f"{number:6}" for number in numbers)
        head += "\n  seconds  " + " ".join(f"{seconds:6.2f}" for seconds in times)
        rows = [f"  {entry.score:.4f}   {entry}" for entry in classes]
    return "\n".join([head, "  score    class", *rows]) + "\n"


def _times(spans: Iterable[Span] | None) -> str:
    return ", ".join(f"{span.start_seconds:.1f}-{span.end_seconds:.1f} s" for span in spans or ())


def _printable(text: str) -> str:
    """File names may hold bytes that are no text in any terminal's encoding."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _summarize(failures: list[Recognition], attempted: int, seconds: float, recognizer: Recognizer) -> None:
    """On standard error, so that standard output holds results alone."""
    for failure in failures:
        click.echo(_printable(f"Error: {failure.error}"), err=True)
    if attempted:
        rate = attempted / max(seconds, 1e-9)
        name, device = recognizer.weights.name, recognizer.device
        told = f", {len(failures)} failed" if failures else ""
        noun = "video" if attempted == 1 else "videos"
        click.echo(f"{attempted} {noun}{told}, {rate:.2f} videos/s with {name} on {device}", err=True)
