"""The configuration of a run: `configs/` and the user's overrides, composed by Hydra, with errors of one line."""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from hydra.utils import instantiate as hydra_instantiate
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from pv_sparse.errors import PvSparseError
from pv_sparse.recipes.checks import check_types
from pv_sparse.resources import resource_dir
from pv_sparse.whole_files import whole_file

TOLD_ERRORS = (PvSparseError, OSError, ValueError, TypeError)
Plain = dict[str, Any]


@dataclass(frozen=True)
class Composed:
    """A configuration, and which file of each group it is made of."""

    config: DictConfig
    choices: dict[str, str | None]

    @property
    def name(self) -> str:
        """Of the experiment, or of model and data."""
        return self.choices.get("experiment") or f"{self.choices['model']}_{self.choices['data']}"


def compose(name: str, overrides: Sequence[str], may_miss: bool = False) -> Composed:
    """The configuration `configs/<name>.yaml` with overrides such as `experiment=tsn_k400_r50` and `optim.lr=0.1`.

    Args:
        name: of the file.
        overrides: in Hydra's words.
        may_miss: whether values that must be given may be missing.

    Raises:
        PvSparseError: an override that does not exist, with near ones; a value that must be given; one of another kind
            than the default, or below the least.
    """
    try:
        composed = _compose(name, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise PvSparseError(_told(name, overrides, error)) from error
    missing = missing_keys(composed.config)
    if missing and not may_miss:
        raise PvSparseError(f"{missing[0]} must be given: add {missing[0]}=... to the command")
    if not missing:
        _check_values(name, overrides, composed)
    return composed


def instantiate(node: DictConfig, **arguments: Any) -> Any:
    """What a node with a `_target_` builds; its errors are those of the target."""
    try:
        return hydra_instantiate(node, _convert_="all", **arguments)
    except HydraException as error:
        cause = error.__cause__
        if isinstance(cause, TOLD_ERRORS):
            raise cause from None
        raise PvSparseError(f"{node.get('_target_')}: {' '.join(str(error).split())}") from error


def plain(node: DictConfig) -> Plain:
    """A node as dicts and lists, with everything it refers to."""
    content: Plain = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    return content


def write_config(config: DictConfig, path: Path) -> None:
    """The whole configuration as one YAML file, with everything it refers to.

    One that is there stays until the new one is whole.
    """
    with whole_file(path) as file:
        file.write(OmegaConf.to_yaml(config, resolve=True).encode("utf-8"))


def missing_keys(config: DictConfig) -> list[str]:
    """Those that must be given; not those that refer to them."""
    return [key for key, value in _unresolved(config).items() if value == MISSING]


def differences(first: DictConfig, second: DictConfig) -> dict[str, tuple[Any, Any]]:
    """(value in the first, value in the second) by key, where they differ."""
    one, other = (dict(_flat(plain(config))) for config in (first, second))
    return {
        key: (one.get(key), other.get(key)) for key in dict.fromkeys([*one, *other]) if one.get(key) != other.get(key)
    }


def _flat(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _compose(name: str, overrides: Sequence[str]) -> Composed:
    """As Hydra does, with its errors."""
    with initialize_config_dir(str(resource_dir("configs").absolute()), version_base="1.3"):
        config = hydra_compose(name, list(overrides), return_hydra_config=True)
    choices = {group: choice for group, choice in config.hydra.runtime.choices.items() if "/" not in group}
    with open_dict(config):
        del config["hydra"]
    return Composed(config, choices)


@cache
def _defaults(name: str, choices: tuple[str, ...] = ()) -> Composed:
    """Not to be changed."""
    return _compose(name, choices)


def _check_values(name: str, overrides: Sequence[str], composed: Composed) -> None:
    try:
        values = dict(_flat(plain(composed.config)))
    except OmegaConfBaseException as error:
        raise PvSparseError(_told(name, overrides, error)) from error
    chosen, bare = (_unresolved(each.config) for each in (_without_values(name, overrides), _defaults(name)))
    check_types(values, chosen, may_be_null=bare)


def _without_values(name: str, overrides: Sequence[str]) -> Composed:
    """With those overrides alone that choose a file of a group, or without any where they do not go together."""
    try:
        return _defaults(name, tuple(each for each in overrides if _is_group(each.partition("=")[0].lstrip("+"))))
    except (HydraException, OmegaConfBaseException):
        return _defaults(name)


def _is_group(key: str) -> bool:
    return (resource_dir("configs") / key).is_dir()


def _unresolved(config: DictConfig) -> Plain:
    """By key, with references as they are written."""
    return dict(_flat(OmegaConf.to_container(config, resolve=False)))


def _told(name: str, overrides: Sequence[str], error: Exception) -> str:
    """What Hydra says, on one line, without what is about its inside."""
    text = " ".join(str(error).split())
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown is not None and _is_group(unknown[1]):
        return f"{unknown[1]} is not among the groups that are there already: add it with a plus, +{unknown[1]}=..."
    if unknown is not None:
        return f"{unknown[1]} is no setting: {_offer(unknown[1], _without_values(name, overrides))}"
    several = re.search(r"(?:Ambiguous value for argument|Sweep parameters) '([^']+=.*?)' (?:1\.|requires)", text)
    if several is not None:
        return f"{several[1]} is not allowed: one run takes one value of each key; a list is quoted, as in 'key=[1,2]'"
    choice = re.search(
        r"Could not find '(\S+)/([^/]+)' Available options in '\S+': (.*?)(?: Config search path|$)", text
    )
    if choice is not None:
        options = choice[3].partition(" Config search path")[0].split()
        return f"{choice[1]}={choice[2]} is unknown: choose one of {', '.join(options)}"
    return re.sub(r" See https:\S+.*| full_key: .*", "", text)


def _offer(unknown: str, composed: Composed) -> str:
    keys = [*_unresolved(composed.config), *composed.choices]
    near = difflib.get_close_matches(unknown, keys, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"the first parts are {', '.join(sorted({key.partition('.')[0] for key in keys}))}"
