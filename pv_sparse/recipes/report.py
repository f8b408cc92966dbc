"""The report folder of a run: its figures, classes, pictures, configuration, versions and failed files."""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pv_sparse.recipes.history import Row
from pv_sparse.recipes.metrics import ClassRow, all_metrics, confusion_matrix, per_class
from pv_sparse.recipes.plots import plot_confusion, plot_curves
from pv_sparse.versions import versions
from pv_sparse.whole_files import whole_file


def write_report(
    folder: Path,
    *,
    scores: Tensor | Mapping[str, Tensor],
    labels: Tensor | Mapping[str, Tensor],
    classes: Sequence[str] | Mapping[str, Sequence[str]],
    history: Sequence[Row],
    config_yaml: str,
    failed: Mapping[str, str],
    multi_label: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the report of the last evaluation and of the run that led to it; files that are there are replaced.

    * `metrics.json`: the figures of `all_metrics` (`top1`, ...; of several tasks `<task>/top1`, ...), then `videos`,
      `failed_files` and `extra`.
    * `per_class.csv`: a row a class; `confusion.png`: which are taken for which, unless several can be right. Of
      several tasks `per_class_<task>.csv`, `confusion_<task>.png`.
    * `curves.png`: loss, accuracy and learning rate over the epochs, where there were any.
    * `config.yaml`, `versions.json`, `failed_files.csv`.

    Each appears whole or not at all. Of several processes one calls this.

    Args:
        folder: made where it is missing.
        scores, labels: of every video of the evaluation, as `task_metrics` takes them, or dicts of them by task.
        classes: names in the order of the scores, or dicts of them by task.
        history: rows of `History`.
        config_yaml: as the run had it.
        failed: by path, why a video could not be read.
        multi_label: several classes can be right; of one task.
        extra: for metrics.json: `epoch` (that the weights are of, counted from 1), `step` (of the optimiser, done until
            then), `loss`, ...

    Returns:
        What metrics.json holds.

    Raises:
        ValueError: as `task_metrics`, or classes that do not fit.
    """
    by_task = _by_task(scores, labels, classes)
    figures = all_metrics(scores, labels, multi_label)
    metrics = {**figures, "videos": len(next(iter(by_task.values()))[0]), "failed_files": len(failed), **(extra or {})}
    folder.mkdir(parents=True, exist_ok=True)
    for task, told in by_task.items():
        _write_classes(folder, task, *told, multi_label)
    if history:
        _write(folder / "curves.png", plot_curves(history))
    _write(folder / "config.yaml", config_yaml)
    _write(folder / "versions.json", _json(versions()))
    _write(folder / "failed_files.csv", _table(("path", "why"), failed.items()))
    _write(folder / "metrics.json", _json(metrics))  # last: who finds it finds the others
    return metrics


def _write_classes(
    folder: Path, task: str, scores: Tensor, labels: Tensor, names: Sequence[str], multi_label: bool
) -> None:
    rows = per_class(scores, labels, names, multi_label)
    _write(folder / f"per_class{_suffix(task)}.csv", _class_table(rows, multi_label))
    if not multi_label:
        picture = plot_confusion(confusion_matrix(scores, labels), names, task)
        _write(folder / f"confusion{_suffix(task)}.png", picture)


def _by_task(scores: Any, labels: Any, classes: Any) -> dict[str, tuple[Tensor, Tensor, Sequence[str]]]:
    """Under "" where there is one task."""
    kinds = {isinstance(given, Mapping) for given in (scores, labels, classes)}
    if len(kinds) > 1:
        raise ValueError("scores, labels and classes do not fit: give all of one task, or all by task")
    if kinds == {False}:
        return {"": (scores, labels, classes)}
    missing = [task for task in scores if task not in labels or task not in classes]
    if missing:
        raise ValueError(f"the task {missing[0]!r} has scores, but no labels or no classes: give both for each task")
    return {task: (scores[task], labels[task], classes[task]) for task in scores}


def _class_table(rows: Iterable[ClassRow], multi_label: bool) -> str:
    if multi_label:
        return _table(("class", "videos", "average_precision"), [(row.name, row.videos, row.top1) for row in rows])
    table = [(row.name, row.videos, row.top1, row.most_confused_with) for row in rows]
    return _table(("class", "videos", "top1", "most_confused_with"), table)


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[f"{value:.6g}" if isinstance(value, float) else value for value in row] for row in rows])
    return text.getvalue()


def _suffix(task: str) -> str:
    return "_" + re.sub(r"[^\w-]", "_", task) if task else ""


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(_plain(values), indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """JSON knows neither NaN nor infinity."""
    if isinstance(value, Mapping):
        return {name: _plain(own) for name, own in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: Path, content: str | bytes) -> None:
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
