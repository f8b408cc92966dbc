"""From a model to one file that has its tensors and its record, from which `load_model` builds it again."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from pv_sparse.errors import WeightsError
from pv_sparse.models.selection import LookScorer
from pv_sparse.zoo.loading import METADATA_KEY, SCORER_PREFIX, shapes
from pv_sparse.zoo.scorers import empty_scorer
from pv_sparse.zoo.state_dicts import StateDict
from pv_sparse.zoo.weights import Weights


def save_model(model: nn.Module, path: str | Path, weights: Weights, scorer: LookScorer | None = None) -> None:
    """Write tensors and record into one `.safetensors` file, from which `load_model(path)` builds the model again.

    The file appears whole or not at all.

    Args:
        model: of `weights.build`, with its tensors.
        path: of the new file, ending in `.safetensors`; an existing one is replaced.
        weights: how the model is built and fed, with the categories it was trained on. For a model that was tuned to
            other classes that is `weights.with_categories(names)`.
        scorer: of looks, that `weights.scorer` describes: `load_scorer(weights)` where they came with one.

    Raises:
        ValueError: another ending; a build that a file cannot tell, as of a module for a backbone; a scorer without its
            description, or with that of another, or a description without its scorer.
        FileNotFoundError: there is no such folder.
        WeightsError: the model is not what the record builds.
    """
    path = check_output(path)
    record = json.dumps(_plain_record(weights))
    _check_fit(model, weights)
    _check_scorer(scorer, weights)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / path.name
        state = {**model.state_dict(), **(scorer.state_dict(prefix=SCORER_PREFIX) if scorer else {})}
        tensors = {key: tensor.contiguous() for key, tensor in state.items()}
        save_file(tensors, part, metadata={METADATA_KEY: record})
        os.replace(part, path)


def check_output(path: str | Path) -> Path:
    """The path of a file that `save_model` can write; else the errors it names."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path={str(path)!r} is not allowed: its name must end in .safetensors")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.absolute().parent}")
    return path


def _plain_record(weights: Weights) -> dict[str, Any]:
    """What goes into a file: of the file that it was, nothing."""
    if any(isinstance(value, nn.Module) for value in weights.build["arguments"].values()):
        raise ValueError("the build has a module among its arguments: a file can only name a backbone")
    converter = weights.origin.get("converter")
    told = {"converted_from": converter} if converter else {}  # publishers differ in what their tests average
    record = weights.as_record() | {"origin": {**weights.origin, **told, "converter": None}}
    del record["file"]
    return record


def _check_fit(model: nn.Module, weights: Weights) -> None:
    differing = _differing(shapes(weights), model.state_dict())
    if differing:
        raise WeightsError(
            f"the model is not what the record builds: {len(differing)} tensors differ (such as {differing[0]}); for "
            "other classes give weights.with_categories(names), for another build replace(weights, build=...)"
        )


def _check_scorer(scorer: LookScorer | None, weights: Weights) -> None:
    if scorer is None and weights.scorer:
        raise ValueError(
            f"{weights.name} has a scorer of looks: give scorer=load_scorer(weights), or replace(weights, scorer={{}})"
        )
    if scorer is not None and not weights.scorer:
        raise ValueError("a scorer of looks was given, which the record does not describe: see Weights.scorer")
    if scorer is not None:
        with torch.device("meta"):  # without memory, or numbers drawn
            described = empty_scorer(weights)
        differing = _differing(described.state_dict(), scorer.state_dict())
        if differing or scorer.size != described.size:
            told = f"{len(differing)} tensors differ" if differing else f"its size is {scorer.size}"
            raise ValueError(
                f"the scorer is not what the record describes: {told}, and the record says {weights.scorer}"
            )


def _differing(wanted: StateDict, own: StateDict) -> list[str]:
    """The keys of tensors that are missing, too many, or of another shape."""
    one, other = ({key: tensor.shape for key, tensor in given.items()} for given in (wanted, own))
    return [key for key in {**one, **other} if one.get(key) != other.get(key)]
