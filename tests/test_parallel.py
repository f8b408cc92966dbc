"""Work in processes: a task that fails, or kills its process, leaves the others be."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until

from pv_sparse.parallel import for_each


def half(number: int) -> int:
    """A task that may fail, or take its process with it."""
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


def threads(_: int) -> int:
    import torch

    return torch.get_num_threads()


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_task_comes_with_its_result_or_its_error(jobs):
    outcomes = dict(for_each(half, range(6), jobs))
    assert {number: outcomes[number] for number in (0, 2, 4)} == {0: 0, 2: 1, 4: 2}
    assert [str(outcomes[number]) for number in (1, 3, 5)] == ["1 is odd", "3 is odd", "5 is odd"]


@pytest.mark.slow
def test_a_task_that_kills_its_process_is_named_and_the_others_are_done():
    outcomes = dict(for_each(half, [0, 2, -1, 4, 6, 8, 10], 2))
    assert isinstance(outcomes.pop(-1), ChildProcessError)
    assert outcomes == {0: 0, 2: 1, 4: 2, 6: 3, 8: 4, 10: 5}


@pytest.mark.slow
def test_processes_have_one_thread_each():
    assert dict(for_each(threads, range(2), 2)) == {0: 1, 1: 1}


def test_no_tasks_no_processes():
    assert list(for_each(half, [], 4)) == []


PROGRAM = """
import signal
import sys
from test_parallel import forever
from pv_sparse.parallel import for_each
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's job in the background ignores
    for _ in for_each(forever, [(sys.argv[1], number) for number in range(2)], 2):
        pass
"""


def forever(task: tuple[str, int]) -> None:
    """Writes the process's number to a file, and stays."""
    folder, number = task
    with open(f"{folder}/{number}", "w") as file:
        file.write(f"{os.getpid()}\n")
    signal.pause()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_no_process_outlives_its_parent(tmp_path, how):
    (tmp_path / "program.py").write_text(PROGRAM)
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    command = [sys.executable, "-W", "ignore", str(tmp_path / "program.py"), str(tmp_path)]
    parent = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL)
    files = [tmp_path / "0", tmp_path / "1"]
    wait_until(lambda: all(file.exists() and file.read_text().endswith("\n") for file in files), parent)
    parent.send_signal(how)
    parent.wait()
    wait_until(lambda: not any(is_running(int(file.read_text())) for file in files))


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{process}/stat") as file:  # gone, but for a parent that has not asked about it
        return file.read().rpartition(")")[2].split()[0] != "Z"
