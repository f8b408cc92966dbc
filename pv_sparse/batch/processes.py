"""Decoding processes that work ahead of the model, and whose death costs one video."""

import multiprocessing
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from pv_sparse.errors import PvSparseError
from pv_sparse.parallel import start_worker

Key = TypeVar("Key")
Result = TypeVar("Result")
DIED = "the process that read it died (out of memory, or a crash)"


def work_ahead(
    function: Callable[[str], Result], tasks: Iterable[tuple[Key, str]], jobs: int, ahead: int
) -> Iterator[tuple[Key, Result | ChildProcessError]]:
    """Each key with what `function` made of its path, as they are done; the processes go on while the caller is busy.

    Unlike `pv_sparse.parallel.for_each` it always works in other processes, takes tasks of any number, and results of
    any size: each process has a pipe of its own, so that one that dies in the middle of an answer holds up nobody, and
    the task it died of is known. That is tried once more in a new process, and then gets a ChildProcessError.

    Args:
        function: takes a path; pickled once a process. It returns its errors.
        tasks: read as they are needed.
        jobs: how many processes.
        ahead: how many tasks may be under way, or done and not yet taken.

    Raises:
        PvSparseError: processes die, one after another, and none has ever answered.
    """
    remaining = iter(tasks)
    running: dict[Future[Any], Key] = {}
    deaths = _Deaths[Key](2 * jobs + 1)
    workers = [_Worker(pickle.dumps(function)) for _ in range(jobs)]
    idle: SimpleQueue[_Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)
    threads = ThreadPoolExecutor(jobs)
    try:
        while True:
            for key, path in islice(remaining, max(ahead, jobs) - len(running)):
                running[threads.submit(_ask_any, idle, path)] = key
            if not running:
                yield from deaths.untold
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield from deaths.told(running.pop(future), future.result())
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.stop()
        threads.shutdown()


class _Deaths(Generic[Key]):
    """Processes that die before any has answered point at this machine, not at the videos.

    Args:
        most: deaths, and no answer, that are too many.
    """

    def __init__(self, most: int):
        self._most, self._has_answer = most, False
        self.untold: list[tuple[Key, Any]] = []

    def told(self, key: Key, outcome: Any) -> list[tuple[Key, Any]]:
        """What can be said now: deaths wait for the first answer. `PvSparseError` for too many of them."""
        self._has_answer = self._has_answer or not isinstance(outcome, ChildProcessError)
        self.untold.append((key, outcome))
        if self._has_answer:
            untold, self.untold = self.untold, []
            return untold
        if len(self.untold) >= self._most:
            raise PvSparseError(
                f"the processes that read videos die at once ({outcome}): is there memory for them? try fewer --jobs"
            )
        return []


def _ask_any(idle: "SimpleQueue[_Worker]", path: str) -> Any:
    worker = idle.get()
    try:
        return worker.ask(path)
    finally:
        idle.put(worker)


class _Worker:
    """A process that calls a function, started when it is first asked, and anew when it died."""

    def __init__(self, pickled: bytes):
        self.pickled = pickled
        self._process: SpawnProcess | None = None
        self._pipe: Connection[Any, Any] | None = None
        self._is_stopped = False
        self._lock = threading.Lock()  # between starting and stopping

    def ask(self, path: str) -> Any:
        for _ in range(2):
            try:
                pipe = self._pipe or self._start()
                pipe.send(path)
                return pipe.recv()
            except (EOFError, OSError):
                self._end()
        return ChildProcessError(f"{path}: {DIED}")

    def stop(self) -> None:
        """For ever; somebody who waits for an answer is told that it died."""
        with self._lock:
            self._is_stopped = True
            if self._process is not None:
                self._process.terminate()
                self._process.join()

    def _start(self) -> "Connection[Any, Any]":
        with self._lock:
            if self._is_stopped:
                raise EOFError
            spawn = multiprocessing.get_context("spawn")
            self._pipe, theirs = spawn.Pipe()
            self._process = spawn.Process(target=_serve, args=(theirs, self.pickled), daemon=True)
            self._process.start()
            theirs.close()  # so that its death is the end of the pipe
            return self._pipe

    def _end(self) -> None:
        with self._lock:
            if self._pipe is not None:
                self._pipe.close()
                self._pipe = None
            if self._process is not None:
                self._process.terminate()
                self._process.join()
                self._process = None


def _serve(pipe: "Connection[Any, Any]", pickled: bytes) -> None:
    start_worker(None)
    function = pickle.loads(pickled)  # noqa: S301
    while True:
        try:
            path = pipe.recv()
        except EOFError:
            return
        pipe.send(function(path))
