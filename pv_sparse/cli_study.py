"""`pv-sparse study`: the comparison of TSN, TRN and ECO, its data and its report."""

import sys
from pathlib import Path

import click

from pv_sparse.cli_options import debug_option, jobs_option, needs_extra


@click.group(invoke_without_command=True)
@click.option("--quick", "level", flag_value="quick", help="A smoke test of 3 minutes: a little of every experiment.")
@click.option("--full", "level", flag_value="full", help="The whole grid with 3 seeds, which takes hours.")
@click.option("--out", default="runs/study", type=click.Path(file_okay=False), show_default=True, metavar="DIR")
@click.option("--vtest", type=click.Path(dir_okay=False, exists=True), metavar="PATH", help="vtest.avi of OpenCV.")
@click.option(
    "--clips",
    type=click.Path(file_okay=False, exists=True),
    metavar="DIR",
    help="Videos for study_spliced, beside the sample clips of the extra demo.",
)
@click.option("--only", multiple=True, metavar="EXPERIMENT", help="Such as study_fusion; may be given several times.")
@click.option("--accelerator", type=click.Choice(["auto", "cpu", "gpu"]), default="auto", show_default=True)
@jobs_option
@debug_option
@click.pass_context
def study(
    context: click.Context,
    level: str | None,
    out: str,
    vtest: str | None,
    clips: str | None,
    only: tuple[str, ...],
    accelerator: str,
    jobs: int,
) -> None:
    """Show what TSN, TRN and ECO can and cannot see: train and test all of them, and write a report.

    Without --quick or --full it takes half an hour on two cores. Everything is written into DIR: generated data, a
    folder for each trained model, results.json, report.html. The same command again goes on where it was broken off,
    and does nothing twice. A row that fails does not stop the others; it is told, and the exit code is 1. Needs
    pip install "pv-sparse[study]".
    """
    if context.invoked_subcommand is not None:
        return
    with needs_extra("study"):
        from pv_sparse.study_command import StudyOptions, run

    source, more_clips = Path(vtest) if vtest else None, Path(clips) if clips else None
    failed = run(StudyOptions(level or "default", Path(out), only, source, more_clips, jobs, accelerator))
    sys.exit(1 if failed else 0)


@study.command("make")
@click.argument("name", metavar="order20|appearance20|untrimmed_appearance|untrimmed_order")
@click.argument("folder", type=click.Path(file_okay=False), metavar="DIR")
@jobs_option
@debug_option
def study_make(name: str, folder: str, jobs: int) -> None:
    """Make a generated data set: DIR/train/CLASS/*.mp4 and DIR/val/CLASS/*.mp4; files that are there are kept."""
    with needs_extra("study"):
        from pv_sparse.study_command import make_data_set

    make_data_set(name, Path(folder), jobs)


@study.command("report")
@click.argument("folder", type=click.Path(file_okay=False, exists=True), metavar="DIR")
@debug_option
def study_report(folder: str) -> None:
    """Write DIR/report.html anew, from DIR/results.json."""
    with needs_extra("study"):
        from pv_sparse.study_command import report

    report(Path(folder))
