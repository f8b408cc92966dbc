"""The study itself: everything that a plan has is trained and tested, in processes, and written as it comes."""

import multiprocessing
import os
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pv_sparse.errors import PvSparseError, one_line
from pv_sparse.parallel import for_each
from pv_sparse.study.fused_tests import fuse_tests
from pv_sparse.study.plan import Plan, PlannedRow, Test
from pv_sparse.study.results import RESULTS_FILE, Results, Row, write_results
from pv_sparse.study.results_frame import with_rows
from pv_sparse.study.testing import Figures, read_tested, run_test, write_tested
from pv_sparse.study.training_runs import TrainingRun, cpu_seconds, is_trained, train_into

TRAINED, TESTED, DATA = "trained", "tested", "data"


@dataclass(frozen=True)
class Task:
    """One training run, where it is not there yet, and the tests of what it learned."""

    out: Path
    run: TrainingRun
    key: str
    tests: tuple[Test, ...]
    accelerator: str

    @property
    def folder(self) -> Path:
        return self.out / TRAINED / self.key


@dataclass(frozen=True)
class Done:
    """What a task came to.

    Attributes:
        train_cpu_seconds: of the training, whenever it was.
        tested: by key of the test.
        failed: by key of the test, why it could not be done.
    """

    train_cpu_seconds: float = 0.0
    tested: dict[str, Figures] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass
class Seen:
    """What tasks came to so far: by key of the training, or of the test."""

    train_cpu_seconds: dict[str, float] = field(default_factory=dict)
    tested: dict[str, Figures] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def take(self, task: Task, outcome: Done | Exception) -> None:
        if isinstance(outcome, Exception):
            self.failed.update({test.key: one_line(outcome) for test in task.tests})
            return
        self.train_cpu_seconds[task.key] = outcome.train_cpu_seconds
        self.tested.update(outcome.tested)
        self.failed.update(outcome.failed)


@dataclass
class Progress:
    """The rows of a plan that are measured, and those that cannot be, and why."""

    rows: dict[PlannedRow, Row] = field(default_factory=dict)
    failed: dict[PlannedRow, str] = field(default_factory=dict)


def work(task: Task) -> Done:
    """Train and test; what is there already is not done again. A test that fails leaves the others be."""
    done = Done()
    try:
        if not is_trained(task.folder):
            train_into(task.folder, task.run, task.accelerator)
        for test in task.tests:
            _test(task, test, done)
    except SystemExit:
        # Lightning's answer to SIGTERM, which a pool would take for a result, and go on with the next task.
        if multiprocessing.parent_process() is not None:
            os._exit(1)
        raise
    return Done(cpu_seconds(task.folder), done.tested, done.failed)


def run_plan(
    plan: Plan,
    out: Path,
    jobs: int,
    accelerator: str,
    frame: Results,
) -> Generator[tuple[PlannedRow, Row | str], None, None]:
    """Train and test what a plan has and is not there yet, and write `results.json` after each training run.

    Args:
        plan: its data are made.
        out: folder of the study.
        jobs: how many processes.
        accelerator: `cpu` or `gpu`.
        frame: the results, with the rows of other experiments; its commands have all experiments in their order.

    Yields:
        Each row of the plan, with what was measured, or why it was not; first those that were there.
    """
    progress, seen = Progress(), Seen()
    for outcomes in _outcomes(_tasks(plan, out, accelerator), jobs):
        before = {*progress.rows, *progress.failed}
        for task, outcome in outcomes:
            seen.take(task, outcome)
        _update(progress, plan, out, seen)
        write_results(_results(frame, plan, progress), out / RESULTS_FILE)
        yield from _finished(progress, plan, before)


def _test(task: Task, test: Test, done: Done) -> None:
    folder = task.out / TESTED
    known = read_tested(folder, test.key)
    if known is None:
        try:
            known, scores = run_test(task.folder, task.run.config, test.choice, task.accelerator, test.data)
        except Exception as error:
            done.failed[test.key] = one_line(error)
            return
        about = {"training": task.key, "data": task.run.data, "choice": str(test.choice)}
        write_tested(folder, test.key, known, scores, about)
    done.tested[test.key] = known


def _tasks(plan: Plan, out: Path, accelerator: str) -> list[Task]:
    return [Task(out, plan.trainings[key], key, tuple(tests), accelerator) for key, tests in plan.tests().items()]


def _outcomes(tasks: Sequence[Task], jobs: int) -> Iterator[Sequence[tuple[Task, Done | Exception]]]:
    """First what is there already, all at once; then each task as it is done."""
    there = [(task, done) for task in tasks if (done := _known(task)) is not None]
    yield there
    known = {task.key for task, _ in there}
    for each in for_each(work, [task for task in tasks if task.key not in known], jobs):
        yield [each]


def _known(task: Task) -> Done | None:
    """What a task would come to, where everything is there already."""
    if not is_trained(task.folder):
        return None
    tested = {test.key: read_tested(task.out / TESTED, test.key) for test in task.tests}
    there = {key: own for key, own in tested.items() if own is not None}
    return Done(cpu_seconds(task.folder), there) if len(there) == len(tested) else None


def _update(progress: Progress, plan: Plan, out: Path, seen: Seen) -> None:
    """With the rows that have become complete, or cannot be any more."""
    for row in plan.rows:
        if row in progress.rows or row in progress.failed:
            continue
        failed = [seen.failed[test.key] for test in row.tests if test.key in seen.failed]
        if failed:
            progress.failed[row] = failed[0]
        elif all(test.key in seen.tested for test in row.tests):
            try:
                progress.rows[row] = _row(row, out, seen)
            except (PvSparseError, OSError) as error:  # score files that are damaged, or of other videos
                progress.failed[row] = one_line(error)


def _finished(progress: Progress, plan: Plan, before: Collection[PlannedRow]) -> Iterator[tuple[PlannedRow, Row | str]]:
    """Since before, in the order of the plan."""
    for row in plan.rows:
        if row not in before:
            outcome = progress.rows.get(row) or progress.failed.get(row)
            if outcome is not None:
                yield row, outcome


def _row(row: PlannedRow, out: Path, seen: Seen) -> Row:
    own = [seen.tested[test.key] for test in row.tests]
    one = own[0] if row.by is None else fuse_tests([out / TESTED / f"{t.key}.npz" for t in row.tests], own, row.by)
    return Row(
        *row.cell,
        seed=row.seed,
        top1=one.top1,
        cpu_seconds=one.cpu_seconds,
        decode_cpu_seconds=one.decode_cpu_seconds,
        train_cpu_seconds=seen.train_cpu_seconds[row.tests[0].training] if row.by is None else None,
        num_videos=one.num_videos,
    )


def _results(frame: Results, plan: Plan, progress: Progress) -> Results:
    return with_rows(frame, [progress.rows[row] for row in plan.rows if row in progress.rows])
