"""`pv-sparse study`: the experiments of a level, one line for each row that is measured, and the report."""

import shlex
import sys
import time
from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import click
import torch

from pv_sparse.errors import PvSparseError, one_line
from pv_sparse.recipes.config import instantiate
from pv_sparse.recipes.console import exit_code
from pv_sparse.study.data_making import make_data, make_other_data
from pv_sparse.study.experiment_files import check_name, read_experiment
from pv_sparse.study.experiments import Experiment
from pv_sparse.study.levels import StudyFile, read_study
from pv_sparse.study.making import DATA_SETS, make
from pv_sparse.study.plan import Plan, PlannedRow, Planner
from pv_sparse.study.relevance import write_sheets
from pv_sparse.study.report import SHEETS_FOLDER, write_report
from pv_sparse.study.results import RESULTS_FILE, Results, Row, read_results
from pv_sparse.study.results_frame import results_frame
from pv_sparse.study.running import DATA, TRAINED, run_plan
from pv_sparse.study.spliced_plan import SplicedPlan, SplicedTest, plan_spliced
from pv_sparse.study.spliced_running import run_spliced
from pv_sparse.study.training_runs import MODEL_FILE, is_trained

ACCELERATORS = ("auto", "cpu", "gpu")
# Whose frames the contact sheets show.
SHOWN = ("study_fusion", "order20", "trn_multi_scale")


@dataclass(frozen=True)
class StudyOptions:
    """What the command is told.

    Attributes:
        level: `quick`, `default` or `full`.
        out: folder of the study.
        only: names of experiments; () is all.
        vtest: the file that `walking` is cut from, and the footage of `spliced`.
        clips: a folder of videos, which become clips of `spliced` beside the sample clips.
        jobs: how many processes.
        accelerator: `auto`, `cpu` or `gpu`.
    """

    level: str
    out: Path
    only: tuple[str, ...] = ()
    vtest: Path | None = None
    clips: Path | None = None
    jobs: int = 1
    accelerator: str = "auto"


def run(options: StudyOptions) -> int:
    """Measure what a level has and is not there yet, and write the report; returns how many rows failed."""
    begin = time.monotonic()
    study = read_study()
    options = replace(options, accelerator=_accelerator(options.accelerator))
    experiments = _experiments(study, options.only)
    torch.set_num_threads(1)  # of this process, where one job works in it: CPU times are of one core
    level = study.levels[options.level]
    plan = Planner(level, study.data, options.out / DATA, options.accelerator, options.vtest).plan(experiments)
    spliced = plan_spliced(experiments, level, options.accelerator, options.clips, options.vtest)
    for why in (*plan.left_out, *spliced.left_out):
        _tell(why)
    num_rows = len(plan.rows) + len(spliced.tests)
    if not num_rows:
        return 0
    todo = sum(not is_trained(options.out / TRAINED / key) for key in plan.trainings)
    _tell(f"{level.name}: {num_rows} rows of {len(plan.trainings)} training runs, {todo} of them to be done")
    failed = _measured(study, plan, spliced, options)
    _tell(f"{time.monotonic() - begin:.0f} s: {_report(plan, options.out)} is the report")
    return failed


def make_data_set(name: str, folder: Path, jobs: int) -> None:
    """A whole generated data set."""
    last = 0.0

    def progress(done: int, of_all: int) -> None:
        nonlocal last
        if done == of_all or time.monotonic() - last > 10:
            last = time.monotonic()
            _tell(f"{done} of {of_all} scenes")

    check_name(name, list(DATA_SETS), "data set")
    make(name, folder, jobs, progress=progress)
    _tell(f"{name} is in {folder}: pv-sparse train experiment=folder data.root={shlex.quote(str(folder))} trains on it")


def report(folder: Path) -> None:
    """The report of a study that was measured."""
    _tell(f"{write_report(read_results(folder), folder)}")


def _measured(study: StudyFile, plan: Plan, spliced: SplicedPlan, options: StudyOptions) -> int:
    """How many rows failed; a study that is told to stop says so, and ends with the code of a stopped program."""
    options.out.mkdir(parents=True, exist_ok=True)
    num_rows, failed = len(plan.rows) + len(spliced.tests), 0
    try:
        with closing(_outcomes(study, plan, spliced, options)) as rows:  # ends its processes
            for done, (planned, outcome) in enumerate(rows, 1):
                failed += isinstance(outcome, str)
                _tell_row(planned, outcome, num_rows - done)
    except (KeyboardInterrupt, SystemExit) as stop:  # Lightning makes the second of the first
        _tell("stopped: the same command goes on where it was")
        sys.exit(exit_code(stop))
    return failed


def _outcomes(
    study: StudyFile, plan: Plan, spliced: SplicedPlan, options: StudyOptions
) -> Generator[tuple[PlannedRow | SplicedTest, Row | str], None, None]:
    """What trains nothing comes first: whether its clips can be used is soon known."""
    out, jobs, accelerator = options.out, options.jobs, options.accelerator
    if spliced.tests:
        frame = _frame(study, options, {test.cell.experiment for test in spliced.tests})
        yield from run_spliced(spliced, out, jobs, accelerator, frame, _tell)
    if plan.rows:
        make_data(plan.trainings.values(), jobs, _tell)
        make_other_data(plan.other_data(), jobs, _tell)
        frame = _frame(study, options, {row.cell.experiment for row in plan.rows})
        yield from run_plan(plan, out, jobs, accelerator, frame)


def _frame(study: StudyFile, options: StudyOptions, measured: Collection[str]) -> Results:
    there = read_results(options.out) if (options.out / RESULTS_FILE).exists() else None
    commands = {name: command(options.level, name, options.clips is not None) for name in study.experiments}
    return results_frame(options.level, options.accelerator, commands, measured, there)


def command(level: str, experiment: str, has_clips: bool = False) -> str:
    """What makes the rows of an experiment."""
    words = ["pv-sparse study", *([] if level == "default" else [f"--{level}"]), f"--only {experiment}"]
    words += ["--vtest vtest.avi"] if experiment in ("study_grid", "study_spliced") else []
    return " ".join([*words, *(["--clips DIR"] if experiment == "study_spliced" and has_clips else [])])


def _experiments(study: StudyFile, only: Sequence[str]) -> list[Experiment]:
    for name in only:
        check_name(name, study.experiments, "--only")
    return [read_experiment(name) for name in study.experiments if not only or name in only]


def _accelerator(wanted: str) -> str:
    there = torch.cuda.is_available()
    if wanted == "gpu" and not there:
        raise PvSparseError("--accelerator gpu: torch sees no GPU here: give cpu or auto")
    return "gpu" if there and wanted != "cpu" else "cpu"


def _report(plan: Plan, out: Path) -> Path:
    try:
        _write_sheets(plan, out)
    except (PvSparseError, OSError, ValueError) as error:
        _tell(f"no contact sheets: {one_line(error)}")
    return write_report(read_results(out / RESULTS_FILE), out)


def _write_sheets(plan: Plan, out: Path) -> None:
    """Of the first seed, where it is measured."""
    shown = next((row for row in plan.rows if row.cell[:3] == SHOWN), None)
    if shown is not None and is_trained(out / TRAINED / shown.tests[0].training):
        run = plan.trainings[shown.tests[0].training]
        config = run.config.copy()
        config.data.frames = False
        model = out / TRAINED / shown.tests[0].training / MODEL_FILE
        write_sheets(model, instantiate(config.data.val), out / SHEETS_FOLDER)


def _tell_row(planned: PlannedRow | SplicedTest, measured: Row | str, num_left: int) -> None:
    name = f"{'  '.join(planned.cell)}  seed {planned.seed}"
    if isinstance(measured, str):
        click.echo(f"Error: {name}: {measured}", err=True)
    else:
        trained = "" if measured.train_cpu_seconds is None else f"{measured.train_cpu_seconds:.0f} + "
        _tell(f"{name}  top1 {measured.top1:.3f}  {trained}{measured.cpu_seconds:.1f} s  {num_left} left")


def _tell(line: str) -> None:
    click.echo(line)
