"""`pv-sparse evaluate`: weights on videos by a protocol, and score files fused."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from omegaconf import DictConfig

from pv_sparse.data.annotations import VideoList, read_videos
from pv_sparse.errors import PvSparseError
from pv_sparse.models.fusion import FUSE
from pv_sparse.recipes.classes import in_order_of
from pv_sparse.recipes.config import compose, instantiate, plain, write_config
from pv_sparse.recipes.console import quiet_lightning
from pv_sparse.recipes.evaluation import check_test, create_trainer, evaluate
from pv_sparse.recipes.evaluation_files import SCORES_FILE, check_output, failure_told, read_metrics
from pv_sparse.recipes.fusing import fuse, write_fusion
from pv_sparse.recipes.scores import Scores
from pv_sparse.zoo.loading import find_weights, load_model
from pv_sparse.zoo.weights import Weights

TRAINER = ("accelerator", "devices", "num_nodes", "strategy", "precision")
FIGURES = {"top1": "top-1", "top5": "top-5", "mean_class_accuracy": "mean class", "map": "mAP", "weighted_map": "wmAP"}
FAILURES_TOLD = 10


def run(overrides: Sequence[str]) -> None:
    """Evaluate or fuse as `configs/evaluate.yaml` and the overrides say; print the figures and the failed files.

    Raises:
        PvSparseError, OSError, ValueError, TypeError: in one line, what does not fit, before anything is decoded.
    """
    config = compose("evaluate", overrides).config
    quiet_lightning()
    weights, scores = _as_list(config.weights), _as_list(config.scores)
    if bool(weights) == bool(scores):
        raise PvSparseError("give weights=NAME_OR_PATH to evaluate, or scores=[a/scores.npz,b/scores.npz] to fuse")
    _check_fusion(config, len(weights or scores))
    if scores:
        check_output(Path(config.out))
        _fuse(scores, config, default="logits")
        _finish(config, [])
    else:
        _evaluate(weights, config)


def _evaluate(names: Sequence[str], config: DictConfig) -> None:
    videos, protocol = _videos(config), instantiate(config.protocol)
    records = [find_weights(name) for name in names]
    for record in records:
        check_test(record, videos, protocol)
    _check_same_classes(records)
    out = Path(config.out)
    parts = [out / _folder(record, n) for n, record in enumerate(records, 1)] if len(records) > 1 else []
    folders = parts or [out]
    for folder in (out, *parts):
        check_output(folder)
    models = [load_model(record) for record in records]
    trainer = create_trainer(**{key: config[key] for key in TRAINER})
    for model, record, folder in zip(models, records, folders, strict=True):
        evaluate(
            model,
            record,
            videos,
            protocol,
            out=folder,
            average=config.average,
            batch_size=config.data.batch_size,
            num_workers=config.data.num_workers,
            index=config.data.index,
            trainer=trainer,
        )
    if trainer.is_global_zero:
        if parts:
            _fuse([str(part / SCORES_FILE) for part in parts], config, default="scores")
        _finish(config, parts)


def _fuse(sources: Sequence[str], config: DictConfig, default: str) -> None:
    weights = None if config.fusion_weights is None else [float(weight) for weight in config.fusion_weights]
    write_fusion(fuse(sources, weights, config.fuse or default), config.out, sources, weights)


def _finish(config: DictConfig, parts: Iterable[Path]) -> None:
    out = Path(config.out)
    write_config(config, out / "config.yaml")
    _print_figures([*parts, out])
    _print_failures(Scores.read(out / SCORES_FILE))
    click.echo(f"{out}/{SCORES_FILE} has the scores of every view, {out}/results.jsonl the best classes of every video")


def _videos(config: DictConfig) -> VideoList:
    node = config.data.get("test") or config.data.get("val")
    if config.videos is None and node is None:
        raise PvSparseError("give the videos: data=folder data.root=DIR, or videos=DIR_OR_LIST")
    videos: VideoList = instantiate(node) if config.videos is None else read_videos(config.videos)
    classes = plain(config.data).get("classes")
    return videos if classes is None else in_order_of(videos, classes)


def _check_fusion(config: DictConfig, count: int) -> None:
    """What fusing would refuse when everything has been decoded."""
    if config.fuse not in (None, *FUSE):
        raise PvSparseError(f"fuse={config.fuse} is unknown: choose one of {', '.join(FUSE)}")
    given = config.fusion_weights
    if given is None:
        return
    if count < 2 or len(_as_list(given)) != count or not all(map(_is_factor, _as_list(given))):
        what = "weights" if config.weights else "score files"
        raise PvSparseError(f"fusion_weights={given} do not fit {count} {what}: give a number above 0 for each")


def _is_factor(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def _check_same_classes(records: Sequence[Weights]) -> None:
    other = next((record for record in records if record.categories != records[0].categories), None)
    if other is not None:
        raise PvSparseError(f"{other.name} has other classes than {records[0].name}: they cannot be fused")


def _folder(record: Weights, number: int) -> str:
    """Of one of several weights: numbered, so that a name may come twice."""
    stem = Path(record.name).stem if "path" in record.file else record.name
    return f"{number}_{re.sub(r'[^A-Za-z0-9_.-]', '_', stem)}"


def _as_list(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(value)] if isinstance(value, (str, int, float)) else [str(name) for name in value]


def _print_figures(folders: Iterable[Path]) -> None:
    """A line for each evaluation, in percent."""
    lines = []
    for folder in folders:
        metrics = read_metrics(folder)
        figures = {_told(key): value for key, value in metrics.items() if key.rpartition("/")[2] in FIGURES}
        failed = f", {metrics['num_failed']} failed" if metrics["num_failed"] else ""
        about = f"{metrics['weights']}, {_protocol(metrics['protocol'])}, {metrics['num_videos']} videos{failed}"
        told = "  ".join(f"{name} {100 * value:.2f}" for name, value in figures.items())
        lines.append(f"{about}\n  {told or 'no figures: the videos have no labels'}")
    click.echo("\n".join(lines))


def _protocol(told: str | Mapping[str, Any]) -> str:
    if isinstance(told, str):
        return told
    plural = "" if told["num_views"] == 1 else "s"
    return f"{told['name']} ({told.get('num_segments', 8)} segments, {told['num_views']} view{plural})"


def _told(key: str) -> str:
    """Of `verb/top1`: `verb top-1`."""
    task, _, name = key.rpartition("/")
    return f"{task} {FIGURES[name]}".strip()


def _print_failures(scores: Scores) -> None:
    for path, reason in [*scores.failed.items()][:FAILURES_TOLD]:
        told = f"Failed: {failure_told(path, reason)}"
        click.echo(told.encode("utf-8", "backslashreplace").decode("utf-8"), err=True)
    if len(scores.failed) > FAILURES_TOLD:
        click.echo(f"and {len(scores.failed) - FAILURES_TOLD} more, see results.jsonl", err=True)
