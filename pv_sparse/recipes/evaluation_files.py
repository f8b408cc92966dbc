"""The files of an evaluation: scores, a result record for each video, and the figures."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pv_sparse.data.annotations import VideoList
from pv_sparse.data.dataset import Sample
from pv_sparse.errors import PvSparseError
from pv_sparse.recipes.evaluation_parts import Look, Merged
from pv_sparse.recipes.scores import ONE_TASK, Scores, TaskScores, average_views
from pv_sparse.recognition import ClassScore, Recognition, best_classes
from pv_sparse.versions import versions
from pv_sparse.whole_files import whole_file
from pv_sparse.zoo.weights import Weights

SCORES_FILE, RESULTS_FILE, METRICS_FILE = "scores.npz", "results.jsonl", "metrics.json"
TOP_K = 5


@dataclass(frozen=True)
class Trial:
    """What was tested, and how: `labels` as of `match_labels`, `protocol` as of `Protocol.describe`."""

    weights: Weights
    videos: VideoList
    labels: Mapping[str, np.ndarray]
    protocol: Mapping[str, Any]
    average: str
    precision: str


def check_output(out: Path) -> None:
    """Make the folder, so that what stands in the way is told before the work.

    Raises:
        PvSparseError: a folder that holds an evaluation, a file in its place, or nowhere to write.
    """
    if out.exists() and not out.is_dir():
        raise PvSparseError(f"out={out} is a file: give a folder")
    present = [name for name in (SCORES_FILE, RESULTS_FILE, METRICS_FILE) if (out / name).exists()]
    if present:
        raise PvSparseError(f"out={out} holds another evaluation, or a run ({present[0]}): give another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise PvSparseError(f"out={out} cannot be written to ({error.strerror}): give another folder") from error


def look_of(row: int, sample: Sample) -> Look:
    """What was seen of a video, in plain numbers."""
    return {
        "row": row,
        "error": None,
        "num_frames": sample["video_num_frames"],
        "frame_indices": sample["frame_indices"].tolist(),
        "frame_times_seconds": sample["frame_times_seconds"].tolist(),
    }


def failed_look(row: int, reason: str) -> Look:
    """Of a video that nothing can be said of."""
    return {"row": row, "error": reason, "num_frames": None, "frame_indices": None, "frame_times_seconds": None}


def failure_told(path: str, reason: str) -> str:
    """A reason with the path, which most reasons begin with."""
    return reason if path in reason else f"{path}: {reason}"


def write_evaluation(out: Path, merged: Merged, trial: Trial) -> None:
    """`scores.npz`, `results.jsonl`, and, as the last, `metrics.json`.

    Raises:
        PvSparseError: no video could be read.
    """
    scores = _scores(merged, trial)
    if not scores.paths:
        first = failure_told(*next(iter(scores.failed.items())))
        raise PvSparseError(f"none of the {len(trial.videos)} videos could be evaluated, such as {first}")
    scores.save(out / SCORES_FILE)
    write_results(out, _records(merged, trial, scores))
    about = {"protocol": dict(trial.protocol), "average": trial.average, "precision": trial.precision}
    write_metrics(out, scores, about)


def write_results(out: Path, records: Iterable[Recognition]) -> None:
    """`results.jsonl`, a result record a line."""
    with whole_file(out / RESULTS_FILE) as file:
        for record in records:
            file.write(json.dumps(record.as_dict()).encode() + b"\n")


def write_metrics(out: Path, scores: Scores, about: Mapping[str, Any]) -> None:
    """`metrics.json`: the figures, counts, and what gave them."""
    content = {
        **scores.metrics(),
        "num_videos": len(scores.paths),
        "num_failed": len(scores.failed),
        "weights": scores.weights,
        **about,
        "versions": versions(),
    }
    with whole_file(out / METRICS_FILE) as file:
        file.write(json.dumps(content, indent=2).encode() + b"\n")


def read_metrics(out: Path) -> dict[str, Any]:
    """`metrics.json` of a folder."""
    return json.loads((out / METRICS_FILE).read_text(encoding="utf-8"))


def top_classes(scores: Scores, row: int) -> list[ClassScore]:
    """The best classes of the video of this row, of each task."""
    own = {name: torch.from_numpy(task.scores[row]) for name, task in scores.tasks.items()}
    names = {name: task.classes for name, task in scores.tasks.items()}
    return best_classes(own.get(ONE_TASK, own), names.get(ONE_TASK, names), TOP_K)


def _scores(merged: Merged, trial: Trial) -> Scores:
    categories = trial.weights.categories
    names = categories if isinstance(categories, Mapping) else {ONE_TASK: categories}
    paths = [path for path, _ in trial.videos.samples]
    tasks = {}
    for task, logits in merged.logits.items():
        averaged = average_views(torch.from_numpy(logits), trial.average, trial.weights.multi_label)
        tasks[task] = TaskScores(logits, averaged.numpy(), trial.labels[task][merged.rows], tuple(names[task]))
    return Scores(
        paths=tuple(paths[row] for row in merged.rows),
        tasks=tasks,
        failed={paths[look["row"]]: look["error"] for look in merged.looks if look["error"] is not None},
        weights=trial.weights.name,
        protocol=trial.protocol["name"],
        average=trial.average,
        multi_label=trial.weights.multi_label,
    )


def _records(merged: Merged, trial: Trial, scores: Scores) -> Iterator[Recognition]:
    place = {int(row): number for number, row in enumerate(merged.rows)}
    for look in merged.looks:
        row = look["row"]
        yield Recognition(
            path=trial.videos.samples[row][0],
            error=look["error"],
            weights=trial.weights.name,
            num_frames=look["num_frames"],
            frame_indices=look["frame_indices"],
            frame_times_seconds=look["frame_times_seconds"],
            classes=top_classes(scores, place[row]) if row in place else None,
        )
