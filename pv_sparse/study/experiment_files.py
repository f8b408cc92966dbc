"""`configs/experiment/study_*.yaml` to experiments; mistakes are told in one line, with near names."""

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from fnmatch import fnmatchcase
from typing import Any

import yaml

from pv_sparse.errors import PvSparseError
from pv_sparse.models.fusion import FUSE
from pv_sparse.recipes.config import compose, plain
from pv_sparse.study.experiments import LEVELS, Experiment, FrameChoice, Selection, StudyModel, Variant
from pv_sparse.study.report_names import SPLICED


def read_experiment(name: str) -> Experiment:
    """The experiment of a file of `configs/experiment/`.

    Raises:
        PvSparseError: no such file, or one whose node `study` has what it cannot have: near names are offered.
    """
    config = compose("train", [f"experiment={name}"], may_miss=True).config
    if config.get("study") is None:
        raise PvSparseError(f"experiment {name} has no node study: choose one whose name begins with study_")
    return parse_experiment(name, plain(config.study))


def parse_experiment(name: str, node: Mapping[str, Any]) -> Experiment:
    """An experiment of the node `study`, as plain values; `PvSparseError` as of `read_experiment`."""
    where = f"experiment {name}, study"
    check_keys(node, ("title", "question", "data", "trained_on", "models", "variants", *LEVELS), where)
    lacking = [key for key in ("title", "question", "data", "models", "variants") if not node.get(key)]
    if lacking:
        raise PvSparseError(f"{where}.{lacking[0]} must be given")
    models = {key: _model(own or {}, f"{where}.models.{key}") for key, own in node["models"].items()}
    variants = tuple(made for own in node["variants"] for made in _variants(own, where))
    levels = {level: _selections(node[level], f"{where}.{level}") for level in LEVELS if node.get(level)}
    trained_on = dict(node.get("trained_on") or {})
    data = tuple(node["data"])
    experiment = Experiment(name, node["title"], node["question"], data, models, variants, levels, trained_on)
    for tested in trained_on:
        check_name(tested, data, f"{where}.trained_on")
    _check(experiment, where)
    return experiment


def check_keys(node: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    """That a node has no others; `PvSparseError` offers near ones."""
    for key in node:
        check_name(key, allowed, where)


def check_name(name: str, allowed: Sequence[str], where: str) -> None:
    """That a name is one of these; `PvSparseError` offers near ones."""
    if name not in allowed:
        near = difflib.get_close_matches(name, allowed, n=3, cutoff=0.5)
        told = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(allowed)}"
        raise PvSparseError(f"{where}: {name} is unknown: {told}")


def _model(node: Mapping[str, Any], where: str) -> StudyModel:
    check_keys(node, [own.name for own in fields(StudyModel)], where)
    return StudyModel(**{**node, **{key: tuple(node.get(key, ())) for key in ("train", "fuse")}})


def _variants(node: Mapping[str, Any], where: str) -> Iterator[Variant]:
    """One; or, with `each: {k: [3, 5]}`, one for each combination of the values, in the place of `{k}` in all texts."""
    if not node.get("name"):
        raise PvSparseError(f"{where}.variants: each must have a name")
    where = f"{where}.variants {node['name']}"
    check_keys(node, ("name", "train", "test", "models", "each"), where)
    each = node.get("each", {})
    for values in itertools.product(*each.values()):
        given = dict(zip(each, values, strict=True))
        test = {key: _filled(value, given) for key, value in node.get("test", {}).items()}
        check_keys(test, [own.name for own in fields(FrameChoice)], f"{where}, test")
        train = tuple(override.format(**given) if given else override for override in node.get("train", ()))
        name = node["name"].format(**given) if given else node["name"]
        yield Variant(name, train, _setting(test, where), tuple(node.get("models", ())))


def _filled(value: Any, given: Mapping[str, Any]) -> Any:
    """`"{k}"` becomes a number again."""
    return yaml.safe_load(value.format(**given)) if given and isinstance(value, str) else value


def _setting(test: Mapping[str, Any], where: str) -> FrameChoice:
    try:
        return FrameChoice(**test)
    except ValueError as error:
        raise PvSparseError(f"{where}, test: {error}") from error


def _selections(node: Any, where: str) -> tuple[Selection, ...]:
    made = []
    for own in node if isinstance(node, list) else [node]:
        check_keys(own, [each.name for each in fields(Selection)], where)
        made.append(Selection(**{key: tuple(names) for key, names in own.items()}))
    return tuple(made)


def _check(experiment: Experiment, where: str) -> None:
    models, names = [*experiment.models], [variant.name for variant in experiment.variants]
    for variant in experiment.variants:
        for model in variant.models:
            check_name(model, models, f"{where}.variants {variant.name}, models")
    for name, own in experiment.models.items():
        _check_model(own, experiment.models, f"{where}.models.{name}")
        _check_weights(own, experiment.data, f"{where}.models.{name}")
    for level, selections in experiment.levels.items():
        for selection in selections:
            told = {"data": experiment.data, "models": models, "variants": names}
            for kind, known in told.items():
                for pattern in getattr(selection, kind):
                    if not any(fnmatchcase(each, pattern) for each in known):
                        check_name(pattern, known, f"{where}.{level}.{kind}")
    seen = [(each.data, each.model, each.variant.name) for each in experiment.combinations()]
    twice = [each for each in seen if seen.count(each) > 1]
    if twice:
        raise PvSparseError(f"{where}: {', '.join(twice[0])} is there twice: give each variant of a model its own name")


def _check_model(model: StudyModel, models: Mapping[str, StudyModel], where: str) -> None:
    for member in model.fuse:
        check_name(member, list(models), f"{where}, fuse")
        if models[member].fuse:
            raise PvSparseError(f"{where}, fuse: {member} is a fusion itself: give its members")
    check_name(model.by, FUSE, f"{where}, by")
    if len(model.fuse) == 1 or (model.fuse and model.train):
        raise PvSparseError(f"{where}: a fusion takes two models or more, and no train of its own")


def _check_weights(model: StudyModel, data: Sequence[str], where: str) -> None:
    if bool(model.weights) != (tuple(data) == (SPLICED,)):
        raise PvSparseError(f"{where}: weights are tested on data: [{SPLICED}], and nothing else is")
    if model.weights and model != StudyModel(weights=model.weights):
        raise PvSparseError(f"{where}: weights are taken as they are: give them alone, or leave them out")
