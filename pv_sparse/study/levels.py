"""`configs/study.yaml`: which experiments there are, and how much of them each level takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pv_sparse.errors import PvSparseError
from pv_sparse.resources import resource_dir
from pv_sparse.study.experiment_files import check_keys, check_name
from pv_sparse.study.experiments import LEVELS, Names


@dataclass(frozen=True)
class Level:
    """How much is measured.

    Attributes:
        name: `quick`, `default` or `full`.
        seeds: of first weights and draws; every cell is measured with each.
        train: overrides of `pv-sparse train`, after all others.
        data: by data set, overrides after those.
    """

    name: str
    seeds: tuple[int, ...] = (0,)
    train: Names = ()
    data: Mapping[str, Names] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyFile:
    """What `configs/study.yaml` holds.

    Attributes:
        experiments: names, in the order of the report.
        data: by data set, overrides that every experiment on it has, before those of the models.
        levels: by name.
    """

    experiments: Names
    data: Mapping[str, Names]
    levels: Mapping[str, Level]


def read_study(path: Path | None = None) -> StudyFile:
    """The file of the study; None is `configs/study.yaml`. `PvSparseError` for what it cannot have."""
    path = path or resource_dir("configs") / "study.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    check_keys(content, ("experiments", "data", "levels"), path.name)
    check_keys(content["levels"], LEVELS, f"{path.name}, levels")
    levels = {name: _level(name, node, content["data"], path.name) for name, node in content["levels"].items()}
    return StudyFile(tuple(content["experiments"]), _overrides(content["data"]), levels)


def _level(name: str, node: Mapping[str, Any], data: Mapping[str, Any], file: str) -> Level:
    where = f"{file}, levels.{name}"
    check_keys(node, ("seeds", "train", "data"), where)
    for each in node.get("data", {}):
        check_name(each, list(data), f"{where}.data")
    if not node.get("seeds"):
        raise PvSparseError(f"{where}.seeds must be given: a list of one number or more")
    return Level(name, tuple(node["seeds"]), tuple(node.get("train", ())), _overrides(node.get("data", {})))


def _overrides(node: Mapping[str, Any]) -> dict[str, Names]:
    return {name: tuple(overrides or ()) for name, overrides in node.items()}
