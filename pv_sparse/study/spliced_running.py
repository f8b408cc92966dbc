"""Tests on spliced videos: these are made, weights of the zoo look at them, and results are written as they come."""

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from pv_sparse.data.annotations import VideoList
from pv_sparse.errors import one_line
from pv_sparse.parallel import for_each
from pv_sparse.study.report_names import SPLICED
from pv_sparse.study.results import RESULTS_FILE, Results, Row, write_results
from pv_sparse.study.results_frame import with_rows
from pv_sparse.study.running import DATA, TESTED
from pv_sparse.study.spliced import VIDEOS_OF_A_CLIP, splice, write_excerpt
from pv_sparse.study.spliced_plan import Sources, SplicedPlan, SplicedTest
from pv_sparse.study.spliced_truth import FOOTAGE, SplicedFigures, Truth, figures_of, truth_of
from pv_sparse.whole_files import whole_file
from pv_sparse.zoo.weights import get_weights

ALONE = "alone"


@dataclass(frozen=True)
class SplicedTask:
    """A test, and what it takes."""

    test: SplicedTest
    videos: VideoList
    truth: Truth
    accelerator: str
    out: Path


def work(task: SplicedTask) -> SplicedFigures:
    """Test, and keep the figures."""
    choice, device = task.test.choice, "cuda" if task.accelerator == "gpu" else "cpu"
    assert choice.num_segments is not None  # as planned
    weights = get_weights(task.test.weights)
    figures = figures_of(task.videos, task.truth, weights, choice.num_segments, choice.select, device)
    folder = task.out / TESTED
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{task.test.key}.json") as file:
        told = {"tested": asdict(figures), "weights": weights.name, "data": SPLICED, "choice": str(choice)}
        file.write(json.dumps(told, indent=1).encode())
    return figures


def run_spliced(
    plan: SplicedPlan, out: Path, jobs: int, accelerator: str, frame: Results, tell: Callable[[str], None]
) -> Generator[tuple[SplicedTest, Row | str], None, None]:
    """Measure what a plan has and is not there yet, and write `results.json` after each test.

    Args:
        plan, out, jobs, accelerator, frame: as of `run_plan`.
        tell: called with a line for what takes long.

    Yields:
        Each test of the plan, with what was measured, or why it was not; first those that were there.

    Raises:
        ValueError: clips that cannot be used, as of `splice` and `truth_of`.
        VideoDecodeError: a file that cannot be read.
    """
    known = {test: figures for test in plan.tests if (figures := _read(out / TESTED, test.key)) is not None}
    rows = {test: _row(test, figures) for test, figures in known.items()}
    _write(plan, rows, frame, out)
    yield from list(rows.items())
    tasks = _tasks(plan, [test for test in plan.tests if test not in known], out, jobs, accelerator, tell)
    for task, outcome in for_each(work, tasks, jobs):
        if isinstance(outcome, Exception):
            yield task.test, one_line(outcome)
            continue
        rows[task.test] = _row(task.test, outcome)
        _write(plan, rows, frame, out)
        yield task.test, rows[task.test]


def _tasks(
    plan: SplicedPlan,
    tests: Sequence[SplicedTest],
    out: Path,
    jobs: int,
    accelerator: str,
    tell: Callable[[str], None],
) -> list[SplicedTask]:
    """With the videos made, and what the weights say of the clips and the footage alone."""
    sources = plan.sources
    if sources is None or not tests:
        return []
    folder = out / DATA / SPLICED / sources.key
    truths = {}
    for name in dict.fromkeys(test.weights for test in tests):
        tell(f"data {SPLICED}: {name} sees {len(sources.clips)} clips and {sources.footage.name} alone")
        truths[name] = truth_of(get_weights(name), sources.clips, [sources.footage], folder / ALONE)
    seeds = list(dict.fromkeys(test.seed for test in tests))
    tell(f"data {SPLICED}: {' + '.join([str(_num_videos(sources))] * len(seeds))} videos")
    videos = _made(sources, folder, seeds, jobs)
    return [SplicedTask(test, videos[test.seed], truths[test.weights], accelerator, out) for test in tests]


def _made(sources: Sources, folder: Path, seeds: Sequence[int], jobs: int) -> dict[int, VideoList]:
    """By seed."""
    made = {}
    for seed, videos in for_each(partial(_splice, sources, folder), seeds, jobs):
        if isinstance(videos, Exception):
            raise videos
        made[seed] = videos
    return made


def _splice(sources: Sources, folder: Path, seed: int) -> VideoList:
    # The footage is small by now, and quicker to read.
    footage = write_excerpt(sources.footage, folder / ALONE / FOOTAGE, float("inf"))
    return splice(sources.clips, [footage], folder, _num_videos(sources), seed, piece_seconds=None)


def _num_videos(sources: Sources) -> int:
    return VIDEOS_OF_A_CLIP * len(sources.clips)


def _read(folder: Path, key: str) -> SplicedFigures | None:
    """What a test said before; None where its file is missing or unreadable."""
    try:
        return SplicedFigures(**json.loads((folder / f"{key}.json").read_text())["tested"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _row(test: SplicedTest, figures: SplicedFigures) -> Row:
    return Row(
        *test.cell,
        seed=test.seed,
        top1=figures.first,
        cpu_seconds=figures.cpu_seconds,
        decode_cpu_seconds=figures.decode_cpu_seconds,
        train_cpu_seconds=0.0,
        num_videos=figures.num_videos,
    )


def _write(plan: SplicedPlan, rows: dict[SplicedTest, Row], frame: Results, out: Path) -> None:
    write_results(with_rows(frame, [rows[test] for test in plan.tests if test in rows]), out / RESULTS_FILE)
