"""A batch job on Ray Data: tasks that decode and actors that hold the model, on all machines of a cluster.

Videos, and weights that are a file, must be readable under the same paths on all machines, and pv_sparse installed.
"""

import logging
import os
import pickle
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any, cast

import ray
import ray.data
import ray.exceptions

from pv_sparse.batch.clips import Clip, ClipReader, clip_or_error
from pv_sparse.batch.job import Chunk, Job
from pv_sparse.batch.processes import work_ahead
from pv_sparse.batch.scoring import Row, Scorer
from pv_sparse.errors import PvSparseError

# Chunks that Ray is given at a time: it keeps books of all that it is given.
WAVE = 4096
MOST_STARTS = 6
# Its servers' log is no message to our users, and nobody agreed to be counted.
ENVIRONMENT = {"RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_USAGE_STATS_ENABLED": "0"}


class Model:
    """The actor that holds the model."""

    def __init__(self, job: Job, device: str, compiled: bool):
        self.scorer = Scorer(job, device, compiled)

    def __call__(self, work: dict[str, bytes]) -> dict[str, bytes]:
        """A chunk and its clips -> its rows. All of it is pickled: file names need not be text."""
        rows = self.scorer.rows(pickle.loads(work["chunk"]), pickle.loads(work["clips"]))  # noqa: S301
        return {"rows": pickle.dumps(rows)}


class Starts:
    """An actor that counts how often a chunk was begun: Ray begins it again when a worker dies, without end."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def begin(self, first: int) -> int:
        """How often the chunk of this first number was begun before."""
        self.counts[first] = self.counts.get(first, -1) + 1
        return self.counts[first]

    def end(self, first: int) -> None:
        self.counts.pop(first, None)


class Decoder:
    """The task that decodes the videos of a chunk; in processes of their own where it died of one of them before."""

    def __init__(self, reader: ClipReader, starts: Any):
        self.reader, self.starts = reader, starts

    def decode(self, work: dict[str, bytes]) -> dict[str, bytes]:
        chunk: Chunk = pickle.loads(work["chunk"])  # noqa: S301
        first = chunk.numbers[0]
        begun = ray.get(self.starts.begin.remote(first))
        clips = self._read(chunk.paths, begun)
        ray.get(self.starts.end.remote(first))
        return {"chunk": work["chunk"], "clips": pickle.dumps(clips)}

    def _read(self, paths: list[str], begun: int) -> list[Clip | str]:
        if begun >= MOST_STARTS:
            return [f"{path}: the worker that read it, or those beside it, died {begun} times" for path in paths]
        return self._apart(paths) if begun else [self.reader.read(path) for path in paths]

    def _apart(self, paths: list[str]) -> list[Clip | str]:
        outcomes = dict(work_ahead(self.reader.read, enumerate(paths), 1, len(paths)))
        return [clip_or_error(outcomes[number]) for number in range(len(paths))]


def run_on_ray(
    chunks: Iterable[Chunk], reader: ClipReader, job: Job, device: str, compiled: bool, jobs: int
) -> Iterator[list[Row]]:
    """The rows of each chunk, as they are done.

    Args:
        chunks: read as they are needed.
        reader: goes to the tasks.
        job: for the actors' model, with the next two; its list of videos stays here.
        device: `cuda`: a GPU an actor, and an actor a GPU. Else an actor a machine.
        compiled: of `pv_sparse.optimize`.
        jobs: processes that decode, where no cluster is there (RAY_ADDRESS) and one is started on this machine.

    Raises:
        PvSparseError: Ray gave up: the model cannot be loaded or run, or the cluster is gone.
    """
    remaining = iter(chunks)
    try:
        with _session(jobs):
            while wave := [*islice(remaining, WAVE)]:
                yield from _rows(wave, reader, job, device, compiled)
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise PvSparseError(f"Ray gave up: {_last_line(error)}") from error


def _rows(wave: list[Chunk], reader: ClipReader, job: Job, device: str, compiled: bool) -> Iterator[list[Row]]:
    is_on_gpu = device.startswith("cuda")
    num_actors = max(1, int(_resources().get("GPU", 0)) if is_on_gpu else _num_machines())
    without_list = replace(job, videos=[])
    work = [{"chunk": pickle.dumps(chunk)} for chunk in wave]
    starts = ray.remote(Starts).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()
    rows = (
        ray.data.from_items(work, override_num_blocks=len(work))
        .map(Decoder(reader, starts).decode, num_cpus=1)
        .map(
            Model,  # type: ignore[arg-type]  # Ray takes classes too
            fn_constructor_args=(without_list, device, compiled),
            compute=ray.data.ActorPoolStrategy(size=num_actors),
            num_cpus=0,  # Asking for what decoding asks for, it would be one with that, and alone.
            num_gpus=1 if is_on_gpu else 0,
        )
    )
    for done in rows.iter_rows():
        yield pickle.loads(done["rows"])  # noqa: S301


def _resources() -> dict[str, float]:
    return cast(dict[str, float], ray.cluster_resources())  # type: ignore[no-untyped-call]


def _num_machines() -> int:
    return sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]


@contextmanager
def _session(jobs: int) -> Iterator[None]:
    """Ray, quiet: the cluster of RAY_ADDRESS, one that this process uses already, or one started here and stopped."""
    is_ours = not ray.is_initialized()
    if is_ours:
        _start(jobs)
    try:
        with _quiet():
            yield
    finally:
        if is_ours:
            ray.shutdown()


def _start(jobs: int) -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    is_here = "RAY_ADDRESS" not in os.environ
    with _closed_standard_error():
        ray.init(
            address="local" if is_here else None,
            num_cpus=jobs if is_here else None,
            include_dashboard=False if is_here else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


@contextmanager
def _closed_standard_error() -> Iterator[None]:
    """Ray's C++ part greets on it, whatever its log level; what goes wrong is raised in Python."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


@contextmanager
def _quiet() -> Iterator[None]:
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    before = (context.enable_progress_bars, logger.level)
    context.enable_progress_bars = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = before[0]
        logger.setLevel(before[1])


def _last_line(error: Exception) -> str:
    """Of a traceback from another machine, the line that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
