"""The folder of a batch job: what of it is done, and that only one process works on it."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from pv_sparse.batch.job import Job, difference
from pv_sparse.batch.shards import Journal, Row, read_errors, write_shard
from pv_sparse.errors import PvSparseError, one_line
from pv_sparse.whole_files import whole_file

JOB_FILE, LIST_FILE = "job.json", "videos.json"
LOCK_FILE = ".lock"
ERRORS_KEPT = 3


class ResultFolder:
    """`part-00000.parquet` and so on, `job.json`, `videos.json`, and a journal of each file under way.

    Made by `open_folder`.

    Args:
        path: of the folder.
        job: whose it is.

    Attributes:
        num_done: videos whose rows are kept.
        num_failed: those of them that have an error.
    """

    def __init__(self, path: Path, job: Job):
        self.path, self.job = path, job
        self.num_done = self.num_failed = 0
        self._finished: dict[int, list[str]] = {}  # file -> what the first videos that failed say
        self._rows: dict[int, dict[int, Row]] = {}  # file -> number -> row, of those under way
        self._journals: dict[int, Journal] = {}
        for shard in range(job.num_shards):
            self._look_at(shard)

    def is_done(self, number: int) -> bool:
        """Whether a video's row is kept, in a file or in a journal."""
        shard = self.job.shard_of(number)
        return shard in self._finished or number in self._rows.get(shard, {})

    def first_errors(self) -> list[str]:
        """Some of the messages of the files that are whole, in the order of the list."""
        errors = (text for shard in sorted(self._finished) for text in self._finished[shard])
        return [text for text, _ in zip(errors, range(ERRORS_KEPT), strict=False)]

    def add(self, rows: list[Row]) -> None:
        """Keep the rows of a chunk: in the journal, or, where they complete it, in their file."""
        shard = self.job.shard_of(rows[0]["number"])
        known = {**self._rows.get(shard, {}), **{row["number"]: row for row in rows}}
        if len(known) == len(self.job.numbers_of(shard)):
            self._finish(shard, known)
        else:
            self._journal(shard).append(rows)
            self._rows[shard] = known
        self._count(rows)

    def close(self) -> None:
        for journal in self._journals.values():
            journal.close()

    def _look_at(self, shard: int) -> None:
        path, journal = self._path_of(shard), self._journal_path(shard)
        if path.exists():
            try:
                errors = read_errors(path, len(self.job.numbers_of(shard)), self.job.features)
            except ValueError as error:
                click.echo(f"Warning: {one_line(error)}: its videos are done again", err=True)
            else:
                self._finished[shard] = errors[:ERRORS_KEPT]
                self.num_done += len(self.job.numbers_of(shard))
                self.num_failed += len(errors)
                journal.unlink(missing_ok=True)
                return
        if journal.exists():
            numbers = self.job.numbers_of(shard)
            rows = {row["number"]: row for row in self._journal(shard).read() if row["number"] in numbers}
            if len(rows) == len(numbers):
                self._finish(shard, rows)
            else:
                self._rows[shard] = rows
            self._count(rows.values())

    def _count(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.num_done += 1
            self.num_failed += row["error"] is not None

    def _finish(self, shard: int, known: dict[int, Row]) -> None:
        rows = [known[number] for number in sorted(known)]
        write_shard(self._path_of(shard), rows, self.job.features)
        self._finished[shard] = [row["error"] for row in rows if row["error"] is not None][:ERRORS_KEPT]
        self._rows.pop(shard, None)
        self._journals.pop(shard, Journal(self._journal_path(shard), self.job.features)).remove()

    def _journal(self, shard: int) -> Journal:
        if shard not in self._journals:
            self._journals[shard] = Journal(self._journal_path(shard), self.job.features)
        return self._journals[shard]

    def _path_of(self, shard: int) -> Path:
        return self.path / f"part-{shard:05d}.parquet"

    def _journal_path(self, shard: int) -> Path:
        return self.path / f".part-{shard:05d}.journal"


def kept_videos(path: Path, asked: str) -> list[str] | None:
    """The list that the job in this folder began with, where it was asked for in the same words; None where not.

    Which files are there may have changed since: videos that are done may be gone.
    """
    try:
        if json.loads((path / JOB_FILE).read_text(encoding="utf-8")).get("asked") == asked:
            return json.loads((path / LIST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, AttributeError):
        pass  # `open_folder` tells what is wrong with it
    return None


@contextmanager
def open_folder(path: Path, job: Job) -> Iterator[ResultFolder]:
    """The folder of a job, new or broken off; nobody else may work in it meanwhile.

    Raises:
        PvSparseError: another job's folder, or another process works in it.
        OSError: it cannot be made or written.
    """
    path.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        _check_job(path, job)
        for left in (*path.glob(".*.part"), *path.glob(".*.journal.new")):  # by a process that was killed
            left.unlink()
        folder = ResultFolder(path, job)
        try:
            yield folder
        finally:
            folder.close()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """A lock that goes with the process that holds it."""
    from portalocker import AlreadyLocked, Lock, LockException

    lock = Lock(path / LOCK_FILE, timeout=0, fail_when_locked=True)
    try:
        lock.acquire()
    except AlreadyLocked as error:
        raise PvSparseError(f"{path}: another process works on this job: wait for it, or stop it") from error
    except LockException as error:
        told = f"{path}: its file system knows no locks ({one_line(error)}): choose another disk"
        raise PvSparseError(told) from error
    try:
        yield
    finally:
        lock.release()


def _check_job(path: Path, job: Job) -> None:
    record, file = job.record(), path / JOB_FILE
    if not file.exists():
        if any(path.glob("part-*.parquet")):
            raise PvSparseError(f"{path}: it holds part files, but no {JOB_FILE} that says whose: choose another one")
        for name, content in ((LIST_FILE, job.videos), (JOB_FILE, record)):
            with whole_file(path / name) as new:
                new.write(json.dumps(content, indent=1).encode() + b"\n")
        return
    changed = difference(_read_job(file), record)
    if changed:
        raise PvSparseError(f"{path}: it holds another job ({changed}): choose another folder, or that job's options")


def _read_job(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PvSparseError(f"{file}: it is damaged: choose another folder") from error
    if not isinstance(record, dict):
        raise PvSparseError(f"{file}: it is no record of a job: choose another folder")
    return record
