"""From experiments to what has to be trained and tested for them; what several of them need is there once."""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import DictConfig

from pv_sparse.recipes.config import compose
from pv_sparse.study.experiments import Combination, Experiment, FrameChoice, Names, StudyModel
from pv_sparse.study.levels import Level
from pv_sparse.study.results import Cell
from pv_sparse.study.testing import key_of_test
from pv_sparse.study.training_runs import TrainingRun
from pv_sparse.study.walking import CLIPS_FILE

WALKING = "walking"


@dataclass(frozen=True)
class Test:
    """A trained model, and how it is tested.

    Attributes:
        training: key of the run.
        choice: which frames, in which order.
        key: of the test.
        data: overrides that compose the data set of the test; () is the one that the model was trained on.
    """

    __test__ = False  # pytest takes it for one of its own

    training: str
    choice: FrameChoice
    key: str
    data: Names = ()


@dataclass(frozen=True)
class PlannedRow:
    """A row of the results, and the tests it comes from: one, or those of the members of a fusion.

    Attributes:
        by: what a fusion averages; None of a single model.
    """

    cell: Cell
    seed: int
    tests: tuple[Test, ...]
    by: str | None = None


@dataclass(frozen=True)
class Plan:
    """What a study does.

    Attributes:
        rows: in the order of the results.
        trainings: by key, those that the rows need.
        left_out: in one line each, what is not measured, and why.
    """

    rows: tuple[PlannedRow, ...]
    trainings: Mapping[str, TrainingRun]
    left_out: Names = ()

    def tests(self) -> dict[str, list[Test]]:
        """By key of the training, each test once; trainings that take long come first."""
        tests: dict[str, dict[str, Test]] = {}
        for row in self.rows:
            for test in row.tests:
                tests.setdefault(test.training, {})[test.key] = test
        by_cost = sorted(tests, key=lambda key: -self.trainings[key].expected_cost)
        return {key: list(tests[key].values()) for key in by_cost}

    def other_data(self) -> list[Names]:
        """Overrides of the data sets that no model is trained on, each once."""
        return list(dict.fromkeys(test.data for row in self.rows for test in row.tests if test.data))


class Planner:
    """Makes the plan of a level.

    Args:
        level: how much of the experiments is measured.
        data_overrides: by data set, overrides of all experiments on it.
        data_folder: each data set is in the folder of its name below it.
        accelerator: `cpu` or `gpu`.
        vtest: the file that `walking` is cut from; without it, and where the clips are not made yet, that data set is
            left out.
    """

    def __init__(
        self,
        level: Level,
        data_overrides: Mapping[str, Names],
        data_folder: Path,
        accelerator: str = "cpu",
        vtest: Path | None = None,
    ):
        self.level, self.data_overrides, self.data_folder = level, data_overrides, data_folder
        self.accelerator, self.vtest = accelerator, vtest
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        self._trainings: dict[str, TrainingRun] = {}
        self._keys: dict[tuple[tuple[str, ...], int], str] = {}

    def plan(self, experiments: Sequence[Experiment]) -> Plan:
        """Of all cells and seeds of the level; experiments that train nothing are no part of it (`plan_spliced`).

        Raises:
            PvSparseError: overrides that do not exist.
        """
        rows: list[PlannedRow] = []
        left_out: dict[str, None] = {}
        for experiment in (each for each in experiments if each.is_trained):
            for combination in experiment.combinations(self.level.name):
                why = self._why_not(experiment, combination)
                if why is None:
                    rows += self._rows(experiment, combination)
                else:
                    left_out[why] = None
        needed = {test.training: self._trainings[test.training] for row in rows for test in row.tests}
        return Plan(tuple(rows), needed, tuple(left_out))

    def _why_not(self, experiment: Experiment, combination: Combination) -> str | None:
        name, data = experiment.name, combination.data
        if data == WALKING and self.vtest is None and not (self.data_folder / WALKING / CLIPS_FILE).exists():
            return f"{name}, {data}: left out without --vtest PATH, the file of Debian's package opencv-doc"
        if any(model.flow for model in _members(experiment, combination.model)) and not _has_opencv():
            return f'{name}: models of optical flow are left out without OpenCV: pip install "pv-sparse[flow]"'
        return None

    def _rows(self, experiment: Experiment, combination: Combination) -> Iterator[PlannedRow]:
        cell = Cell(experiment.name, combination.data, combination.model, combination.variant.name)
        model = experiment.models[combination.model]
        for seed in self.level.seeds:
            tests = [self._test(experiment, combination, own, seed) for own in _members(experiment, combination.model)]
            yield PlannedRow(cell, seed, tuple(tests), model.by if model.fuse else None)

    def _test(self, experiment: Experiment, combination: Combination, model: StudyModel, seed: int) -> Test:
        trained_on = experiment.trained_on.get(combination.data, combination.data)
        training = self._training(experiment.name, combination._replace(data=trained_on), model, seed)
        choice = combination.variant.test
        if model.flow:
            choice = replace(choice, files=False)  # flow is in folders anyway
        data = self._other_data(experiment, combination.data)
        return Test(training, choice, key_of_test(training, choice, self.accelerator, data), data)

    def _other_data(self, experiment: Experiment, data: str) -> Names:
        if data not in experiment.trained_on:
            return ()
        root = f"data.root={self.data_folder / data}"
        return (f"data={data}", root, *self.data_overrides.get(data, ()), *self.level.data.get(data, ()))

    def _training(self, experiment: str, combination: Combination, model: StudyModel, seed: int) -> str:
        """Its key."""
        overrides = self._overrides(experiment, combination, model)
        if (overrides, seed) not in self._keys:
            config = self._config(overrides).copy()
            config.seed, config.data.root = seed, str(self.data_folder / combination.data)
            if "source" in config.data:
                config.data.source = None if self.vtest is None else str(self.vtest)
            run = TrainingRun(config, combination.data, model.flow)
            self._keys[overrides, seed] = run.key
            self._trainings.setdefault(run.key, run)
        return self._keys[overrides, seed]

    def _overrides(self, experiment: str, combination: Combination, model: StudyModel) -> Names:
        """Later ones hold."""
        data = combination.data
        return (
            f"experiment={experiment}",
            f"data={data}{'_flow' if model.flow else ''}",
            "data.root=data",
            *(() if model.flow else ("data.frames=true",)),
            *self.data_overrides.get(data, ()),
            *model.train,
            *combination.variant.train,
            *self.level.train,
            *self.level.data.get(data, ()),
        )

    def _config(self, overrides: Names) -> DictConfig:
        """Not to be changed. Composing takes a while, and seeds have it in common."""
        if overrides not in self._composed:
            self._composed[overrides] = compose("train", overrides).config
        return self._composed[overrides]


def _members(experiment: Experiment, name: str) -> list[StudyModel]:
    """Of a fusion, its models; else the model itself."""
    model = experiment.models[name]
    return [experiment.models[member] for member in model.fuse] if model.fuse else [model]


def _has_opencv() -> bool:
    return importlib.util.find_spec("cv2") is not None
