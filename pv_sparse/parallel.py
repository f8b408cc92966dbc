"""Many independent tasks in processes that are started afresh: what one of them does leaves the others be."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_any
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def for_each(
    function: Callable[[Task], Result], tasks: Iterable[Task], jobs: int, initializer: Callable[[], None] | None = None
) -> Iterator[tuple[Task, Result | Exception]]:
    """Each task with what `function` made of it, in the order they are done; an exception is given, not raised.

    The processes are spawned, one torch thread each: forking a process that has torch's threads is unsafe. They end
    when the iterator does (an interrupt included), and when this process is killed. A task whose process dies
    gets a ChildProcessError, after it has been tried again alone.

    Args:
        function: takes a task; a function of a module, since it is pickled by its name.
        tasks: pickled too.
        jobs: how many processes; with 1, or with one task, the work is done in this process.
        initializer: called first in every process started.
    """
    remaining = deque(tasks)
    if min(jobs, len(remaining)) <= 1:
        for task in remaining:
            yield task, _attempt(function, task)
        return
    while remaining:
        suspects = yield from _until_one_dies(function, remaining, jobs, initializer)
        for suspect in suspects:
            if (yield from _until_one_dies(function, deque([suspect]), 1, initializer)):
                yield suspect, ChildProcessError("the process that worked on it died (out of memory, or a crash)")


def _attempt(function: Callable[[Task], Result], task: Task) -> Result | Exception:
    try:
        return function(task)
    except Exception as error:
        return error


def _until_one_dies(
    function: Callable[[Task], Result], remaining: deque[Task], jobs: int, initializer: Callable[[], None] | None
) -> Generator[tuple[Task, Result | Exception], None, list[Task]]:
    """Works off `remaining`; returns the tasks under way when a process died, none where none did."""
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(remaining)), spawn, start_worker, (initializer,))
    running: dict[Future[Result | Exception], Task] = {}
    try:
        while remaining or running:
            while remaining and len(running) < 2 * jobs:
                future = pool.submit(_attempt, function, remaining[0])
                running[future] = remaining.popleft()
            finished = wait(running, return_when=FIRST_COMPLETED).done
            for future in finished:
                if not isinstance(future.exception(), BrokenProcessPool):
                    yield running.pop(future), future.result()
            if finished & running.keys():
                break
    except BrokenProcessPool:
        pass
    finally:
        _stop(pool, at_once=bool(running))
    return list(running.values())


def start_worker(initializer: Callable[[], None] | None) -> None:
    """What a new process does first: it works on one thread, leaves Ctrl-C to its parent, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends its workers.
    threading.Thread(target=_die_with_the_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = "1"  # for a torch that is imported only now
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if initializer is not None:
        initializer()


def _die_with_the_parent() -> None:
    """A pool's worker that waits for work is not told that its parent was killed, and would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_any([parent.sentinel])
        os._exit(1)


def _stop(pool: ProcessPoolExecutor, at_once: bool) -> None:
    processes = list((pool._processes or {}).values()) if at_once else []  # terminate_workers() is new in Python 3.14
    for process in processes:
        process.terminate()
    pool.shutdown(cancel_futures=True)
