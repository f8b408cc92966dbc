"""A batch job on this machine: processes that decode, and the model here."""

from collections.abc import Iterable, Iterator

from pv_sparse.batch.clips import Clip, ClipReader, clip_or_error
from pv_sparse.batch.job import Chunk
from pv_sparse.batch.processes import work_ahead
from pv_sparse.batch.scoring import Row, Scorer


def run_locally(
    chunks: Iterable[Chunk], reader: ClipReader, scorer: Scorer, jobs: int, batch_size: int
) -> Iterator[list[Row]]:
    """The rows of each chunk, as they are done; while the model works on one, the next are decoded.

    Args:
        chunks: read as they are needed.
        reader: goes to the processes.
        scorer: stays.
        jobs: how many processes, one thread each.
        batch_size: of the chunks; two of them, and two clips a process, are decoded ahead.
    """
    waiting: dict[int, tuple[Chunk, dict[int, Clip | str]]] = {}
    for (first, number), outcome in work_ahead(reader.read, _tasks(chunks, waiting), jobs, 2 * (jobs + batch_size)):
        chunk, outcomes = waiting[first]
        outcomes[number] = clip_or_error(outcome)
        if len(outcomes) == len(chunk.numbers):
            del waiting[first]
            yield scorer.rows(chunk, [outcomes[number] for number in chunk.numbers])


def _tasks(
    chunks: Iterable[Chunk], waiting: dict[int, tuple[Chunk, dict[int, Clip | str]]]
) -> Iterator[tuple[tuple[int, int], str]]:
    """((first number of its chunk, number), path) of each video; the chunk waits for them in `waiting`."""
    for chunk in chunks:
        first = chunk.numbers[0]
        waiting[first] = (chunk, {})
        for number, path in zip(chunk.numbers, chunk.paths, strict=True):
            yield (first, number), path
