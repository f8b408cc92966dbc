"""The data that a plan needs, made before anything is trained, in several processes."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pv_sparse.data.flow import use_one_thread
from pv_sparse.parallel import for_each
from pv_sparse.recipes.building import read_lists
from pv_sparse.recipes.config import compose
from pv_sparse.study.flow_folders import GENERATED, FlowTask, flow_tasks
from pv_sparse.study.making import make
from pv_sparse.study.training_runs import TrainingRun

SPLITS = ("train", "val")


def make_data(trainings: Iterable[TrainingRun], jobs: int, tell: Callable[[str], None], step: int = 100) -> None:
    """Make what is missing of the data sets of these runs: videos, their frames, and optical flow.

    Args:
        trainings: runs on one data set may have different numbers of videos: the largest are made.
        jobs: how many processes.
        tell: called with a line for each data set, and after each `step` scenes or videos.

    Raises:
        OSError: a file cannot be written.
        PvSparseError: a source that is missing or wrong.
    """
    for (data, flow), runs in _by_data(trainings).items():
        config = runs[0].config
        root = Path(config.data.root)
        if data not in GENERATED:
            tell(f"data {data}")
            read_lists(config)
            continue
        counts = {split: max(int(run.config.data[split].num_videos) for run in runs) for split in SPLITS}
        tell(f"data {data}{', optical flow' if flow else ''}: {' + '.join(map(str, counts.values()))} videos")
        progress = _told(data, tell, step)
        frames = any(run.config.data.get("frames", False) for run in runs)
        make(data, root, jobs, int(config.data.seed), counts, frames, progress)
        if flow:
            _make_flow(data, root, counts, int(config.data.seed), jobs, progress)


def make_other_data(overrides: Iterable[Sequence[str]], jobs: int, tell: Callable[[str], None], step: int = 50) -> None:
    """As `make_data`, for generated data sets that are tested on, and not trained on: videos alone.

    Args:
        overrides: of `pv-sparse train`, that compose each.
        jobs, tell, step: as of `make_data`.
    """
    for own in overrides:
        data = compose("train", own).config.data
        name = own[0].removeprefix("data=")
        counts = {split: int(data[split].num_videos) for split in SPLITS}
        tell(f"data {name}: {' + '.join(map(str, counts.values()))} videos")
        make(name, Path(data.root), jobs, int(data.seed), counts, progress=_told(name, tell, step))


def _by_data(trainings: Iterable[TrainingRun]) -> dict[tuple[str, bool], list[TrainingRun]]:
    """Videos before their flow."""
    groups: dict[tuple[str, bool], list[TrainingRun]] = {}
    for run in sorted(trainings, key=lambda run: run.flow):
        groups.setdefault((run.data, run.flow), []).append(run)
    return groups


def _make_flow(
    data: str, root: Path, counts: dict[str, int], seed: int, jobs: int, progress: Callable[[int, int], None]
) -> None:
    lists = [GENERATED[data](root, split, count, seed) for split, count in counts.items()]
    missing = [task for videos in lists for task in flow_tasks(videos, root) if not task.folder.exists()]
    for done, (_, failure) in enumerate(for_each(FlowTask.make, missing, jobs, use_one_thread), 1):
        if failure is not None:
            raise failure
        progress(done, len(missing))


def _told(data: str, tell: Callable[[str], None], step: int) -> Callable[[int, int], None]:
    def progress(done: int, of_all: int) -> None:
        if done % step == 0 and done < of_all:
            tell(f"data {data}: {done} of {of_all}")

    return progress
