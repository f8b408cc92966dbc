"""`pv-sparse recognize --output`: many videos into Parquet files, by a command that goes on where it was broken off."""

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from tqdm import tqdm

from pv_sparse.batch.clips import ClipReader
from pv_sparse.batch.folder import ERRORS_KEPT, ResultFolder, kept_videos, open_folder
from pv_sparse.batch.job import Chunk, Job, chunks, hash_of_arguments
from pv_sparse.batch.local_engine import run_locally
from pv_sparse.batch.scoring import Row, Scorer
from pv_sparse.data.video_files import find_all_videos
from pv_sparse.errors import PvSparseError, one_line
from pv_sparse.looking import Viewer
from pv_sparse.models.features import check_has_features
from pv_sparse.recognition import DEFAULT_WEIGHTS, checked_device, default_device
from pv_sparse.zoo.loading import build_model, find_weights


@dataclass(frozen=True)
class Means:
    """How a job is done, which its results do not depend on but for rounding."""

    engine: str
    batch_size: int
    jobs: int
    device: str
    compiled: bool


def run(
    videos: Iterable[str],
    output: str,
    *,
    weights: str | None,
    top_k: int,
    all_views: bool,
    select: str | None,
    features: bool,
    engine: str,
    shard_size: int,
    batch_size: int,
    jobs: int,
    device: str | None,
    precision: str | None,
    compiled: bool,
) -> int:
    """Recognise what `output` does not hold yet; returns how many videos of the whole job failed."""
    chosen = default_device(device)
    means = Means(engine, batch_size, jobs, chosen if engine == "ray" else checked_device(chosen), compiled)
    record = find_weights(weights or DEFAULT_WEIGHTS)
    viewer = Viewer(record, all_views, threads=1, select=select)
    if features:
        with torch.device("meta"):
            check_has_features(build_model(record))
    arguments = [*videos]
    asked = hash_of_arguments(arguments)
    found = kept_videos(Path(output), asked) or find_all_videos(arguments)
    job = Job(found, record, top_k, all_views, features, precision, shard_size, select, asked)
    with open_folder(Path(output), job) as folder:
        _do(folder, ClipReader(viewer), means)
        return folder.num_failed


def _do(folder: ResultFolder, reader: ClipReader, means: Means) -> None:
    total, before, started = len(folder.job.videos), folder.num_done, time.perf_counter()
    if before == total:
        click.echo(f"{folder.path}: nothing to do, {_counts(folder)}", err=True)
        return
    if before:
        click.echo(f"{folder.path}: {before} of {_videos(total)} are there, going on", err=True)
    bar = tqdm(total=total, initial=before, unit="video", disable=not sys.stderr.isatty())
    try:
        for rows in _engine(folder, reader, means):
            folder.add(rows)
            bar.set_postfix(failed=folder.num_failed, refresh=False)
            bar.update(len(rows))
    except (Exception, KeyboardInterrupt) as error:
        bar.close()
        kept = f"{folder.num_done} of {_videos(total)} are done and kept in {folder.path}, the same command goes on"
        if isinstance(error, KeyboardInterrupt):
            click.echo(kept, err=True)
            raise
        raise PvSparseError(f"{one_line(error)}{_advice(error)}: {kept}") from error
    bar.close()
    if folder.num_done != total:
        told = f"only {folder.num_done} of {_videos(total)} are done: give the same command again"
        raise PvSparseError(f"{folder.path}: {told}")
    rate = (total - before) / max(time.perf_counter() - started, 1e-9)
    told = f"{total - before} now, {rate:.2f} videos/s with {folder.job.weights.name} on {means.device}"
    click.echo(f"{folder.path}: {_counts(folder)}; {told}", err=True)


def _engine(folder: ResultFolder, reader: ClipReader, means: Means) -> Iterator[list[Row]]:
    work: Iterator[Chunk] = chunks(folder.job, means.batch_size, folder.is_done)
    if means.engine == "ray":
        from pv_sparse.batch.ray_engine import run_on_ray

        return run_on_ray(work, reader, folder.job, means.device, means.compiled, means.jobs)
    scorer = Scorer(folder.job, means.device, means.compiled)
    return run_locally(work, reader, scorer, means.jobs, means.batch_size)


def _counts(folder: ResultFolder) -> str:
    """Such as "200 videos, 3 failed: a.mp4: the file is empty; ..."."""
    counts, failed = _videos(len(folder.job.videos)), folder.num_failed
    if not failed:
        return f"{counts}, none failed"
    more = f"; and {failed - ERRORS_KEPT} more in the column `error`" if failed > ERRORS_KEPT else ""
    text = f"{counts}, {failed} failed: {'; '.join(folder.first_errors())}{more}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _videos(number: int) -> str:
    return f"{number} video{'' if number == 1 else 's'}"


def _advice(error: BaseException) -> str:
    return " (a smaller --batch-size needs less)" if isinstance(error, torch.OutOfMemoryError) else ""
