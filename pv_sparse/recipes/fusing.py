"""Late fusion of score files: several modalities, or networks of several numbers of frames, to one answer a video."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pv_sparse.data.annotations import StrPath
from pv_sparse.errors import PvSparseError
from pv_sparse.models.fusion import FUSE
from pv_sparse.recipes.evaluation_files import SCORES_FILE, check_output, top_classes, write_metrics, write_results
from pv_sparse.recipes.scores import Scores, TaskScores, as_scores, mean_logits
from pv_sparse.recognition import Recognition

Video = tuple[str, int]
# Logarithms of scores must be finite.
LEAST = 1e-12


def fuse(sources: Sequence[StrPath | Scores], weights: Sequence[float] | None = None, on: str = "logits") -> Scores:
    """The weighted mean of what several score files say of each video, matched by path.

    TSN's two-stream figures (Wang et al., ECCV 2016, section 3.2) weight raw scores, RGB and flow as 1 to 1.5:
    `weights=[1, 1.5], on="logits"`; those of the Kinetics page and of mmaction2 are 1 to 1. ECO's ensemble (Zolfaghari
    et al., ECCV 2018, section 4: networks of 16, 20, 24 and 32 frames) averages scores: `on="scores"`.

    Videos that failed in one of the files are left out, and listed as failed; others must be in all of them.

    Args:
        sources: each a `scores.npz` of `evaluate`, or what `Scores.read` makes of it; two or more, of the same classes.
        weights: one for each; None is 1 for each. They are divided by their sum.
        on: `logits`, the means over views, or `scores`, those of the files.

    Returns:
        `logits` has one view, whose softmax (sigmoid where several classes can be right) gives the `scores`.

    Raises:
        ValueError: fewer than two sources, weights that do not fit, an unknown `on`.
        PvSparseError: videos, labels, tasks or classes that differ: how many, and the first.
    """
    given = _checked(sources, weights, on)
    files = [source if isinstance(source, Scores) else Scores.read(source) for source in sources]
    names = [f"scores {n}" if isinstance(source, Scores) else str(source) for n, source in enumerate(sources, 1)]
    failed = {path: reason for file in files for path, reason in file.failed.items()}
    picked = _matched(files, names, failed)
    return Scores(
        paths=picked[0].paths,
        tasks={task: _fused(picked, given, task, on) for task in picked[0].tasks},
        failed=failed,
        weights=" + ".join(f"{weight:g} x {file.weights}" for weight, file in zip(given, files, strict=True)),
        protocol=" + ".join(dict.fromkeys(file.protocol for file in files)),
        average=on,
        multi_label=picked[0].multi_label,
    )


def write_fusion(fused: Scores, out: StrPath, sources: Sequence[StrPath], weights: Sequence[float] | None) -> None:
    """`scores.npz`, `results.jsonl` (without frames, which differ between the files) and `metrics.json`, into `out`.

    Raises:
        PvSparseError: `out` holds an evaluation.
    """
    folder = Path(out)
    check_output(folder)
    fused.save(folder / SCORES_FILE)
    write_results(folder, _records(fused))
    about = {"fused": [str(source) for source in sources], "fusion_weights": weights and list(weights)}
    write_metrics(folder, fused, {"protocol": fused.protocol, "fuse": fused.average, **about})


def _checked(sources: Sequence[StrPath | Scores], weights: Sequence[float] | None, on: str) -> list[float]:
    if on not in FUSE:
        raise ValueError(f"on={on!r} is unknown: choose one of {', '.join(FUSE)}")
    if len(sources) < 2:
        raise ValueError(f"{len(sources)} score file was given: fusion takes two or more")
    given = [1.0] * len(sources) if weights is None else [float(weight) for weight in weights]
    if len(given) != len(sources) or not all(0 < weight < math.inf for weight in given):
        raise ValueError(f"weights={given} do not fit {len(sources)} score files: give a number above 0 for each")
    return given


def _matched(files: Sequence[Scores], names: Sequence[str], failed: Mapping[str, str]) -> list[Scores]:
    """The same videos of each, in the order of the first; those that failed are left out."""
    for file, name in zip(files[1:], names[1:], strict=True):
        _check_classes(files[0], names[0], file, name)
        _check_videos(files[0], names[0], file, name, failed)
    videos = [video for video in _numbered(files[0].paths) if video[0] not in failed]
    if not videos:
        raise PvSparseError("no video was read in all of the score files: there is nothing to fuse")
    picked = [_picked(file, videos) for file in files]
    for file, name in zip(picked[1:], names[1:], strict=True):
        _check_labels(picked[0], names[0], file, name)
    return picked


def _check_classes(first: Scores, first_name: str, other: Scores, name: str) -> None:
    if first.tasks.keys() != other.tasks.keys() or first.multi_label != other.multi_label:
        raise PvSparseError(f"{name} has scores of other tasks than {first_name}: fuse scores of the same")
    for task, own in first.tasks.items():
        ours, theirs = own.classes, other.tasks[task].classes
        if len(ours) != len(theirs):
            raise PvSparseError(f"{name} has scores of {len(theirs)} classes, {first_name} of {len(ours)}")
        differing = [number for number, pair in enumerate(zip(ours, theirs, strict=True)) if len(set(pair)) > 1]
        if differing:
            one, another = ours[differing[0]], theirs[differing[0]]
            raise PvSparseError(
                f"{len(differing)} of {len(ours)} classes differ between {first_name} and {name}, the first is number "
                f"{differing[0]}, {one!r} and {another!r}"
            )


def _check_videos(first: Scores, first_name: str, other: Scores, name: str, failed: Mapping[str, str]) -> None:
    ours, theirs = set(_numbered(first.paths)), set(_numbered(other.paths))
    for missing, holder, lacking in ((ours - theirs, first_name, name), (theirs - ours, name, first_name)):
        paths = sorted(path for path, _ in missing if path not in failed)
        if paths:
            raise PvSparseError(f"{len(paths)} videos of {holder} are not in {lacking}, the first is {paths[0]}")


def _check_labels(first: Scores, first_name: str, other: Scores, name: str) -> None:
    for task, own in first.tasks.items():
        ours, theirs = (labels.reshape(len(first.paths), -1) for labels in (own.labels, other.tasks[task].labels))
        differing = np.flatnonzero((ours != theirs).any(axis=1))
        if len(differing):
            raise PvSparseError(
                f"the labels of {len(differing)} of {len(first.paths)} videos differ between {first_name} and {name}, "
                f"the first is {first.paths[differing[0]]}"
            )


def _numbered(paths: Sequence[str]) -> Iterator[Video]:
    """Each path with how often it came before: a list may have a file twice."""
    seen: Counter[str] = Counter()
    for path in paths:
        yield path, seen[path]
        seen[path] += 1


def _picked(file: Scores, videos: Sequence[Video]) -> Scores:
    """The scores of these videos, in this order."""
    place = {video: row for row, video in enumerate(_numbered(file.paths))}
    rows = np.array([place[video] for video in videos])
    tasks = {
        name: TaskScores(task.logits[:, rows], task.scores[rows], task.labels[rows], task.classes)
        for name, task in file.tasks.items()
    }
    return replace(file, paths=tuple(path for path, _ in videos), tasks=tasks)


def _fused(files: Sequence[Scores], weights: Sequence[float], task: str, on: str) -> TaskScores:
    own = [file.tasks[task] for file in files]
    multi_label = files[0].multi_label
    if on == "logits":
        logits = _mean([mean_logits(torch.from_numpy(values.logits)) for values in own], weights)
        scores = as_scores(logits, multi_label)
    else:
        scores = _mean([torch.from_numpy(values.scores).double() for values in own], weights)
        certain = scores.clamp(LEAST, 1 - LEAST)
        logits = certain.logit() if multi_label else certain.log()
    return TaskScores(logits[None].float().numpy(), scores.float().numpy(), own[0].labels, own[0].classes)


def _mean(values: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    return sum((weight * value for weight, value in zip(weights, values, strict=True)), torch.zeros(())) / sum(weights)


def _records(fused: Scores) -> Iterator[Recognition]:
    for row, path in enumerate(fused.paths):
        yield Recognition(path=path, error=None, weights=fused.weights, classes=top_classes(fused, row))
    for path, reason in fused.failed.items():
        yield Recognition(path=path, error=reason, weights=fused.weights)
