"""The configuration of a run: `configs/` and the user's overrides, composed by Hydra, with errors of one line."""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from hydra.utils import instantiate as hydra_instantiate
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from pv_sparse.errors import PvSparseError
from pv_sparse.resources import resource_dir

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
        PvSparseError: an override that does not exist, with near ones; a value that must be given.
    """
    try:
        with initialize_config_dir(str(resource_dir("configs").absolute()), version_base="1.3"):
            config = hydra_compose(name, list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise PvSparseError(_told(name, error)) from error
    choices = dict(config.hydra.runtime.choices)
    with open_dict(config):
        del config["hydra"]
    missing = missing_keys(config)
    if missing and not may_miss:
        raise PvSparseError(f"{missing[0]} must be given: add {missing[0]}=... to the command")
    if not missing:
        _check_references(name, config)
    return Composed(config, choices)


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
    """The whole configuration as one YAML file, with everything it refers to."""
    path.write_text(OmegaConf.to_yaml(config, resolve=True), encoding="utf-8")


def missing_keys(config: DictConfig) -> list[str]:
    """Those that must be given; not those that refer to them."""
    return [key for key, value in _flat(OmegaConf.to_container(config, resolve=False)) if value == MISSING]


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


def _check_references(name: str, config: DictConfig) -> None:
    try:
        plain(config)
    except OmegaConfBaseException as error:
        raise PvSparseError(_told(name, error)) from error


def _told(name: str, error: Exception) -> str:
    """What Hydra says, on one line, without what is about its inside."""
    text = " ".join(str(error).split())
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown is not None:
        return f"{unknown[1]} is no setting: {_offer(unknown[1], name)}"
    choice = re.search(
        r"Could not find '(\S+)/([^/]+)' Available options in '\S+': (.*?)(?: Config search path|$)", text
    )
    if choice is not None:
        options = choice[3].partition(" Config search path")[0].split()
        return f"{choice[1]}={choice[2]} is unknown: choose one of {', '.join(options)}"
    return re.sub(r" See https:\S+.*| full_key: .*", "", text)


def _offer(unknown: str, name: str) -> str:
    keys = _keys(name)
    near = difflib.get_close_matches(unknown, keys, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"the first parts are {', '.join(sorted({key.partition('.')[0] for key in keys}))}"


def _keys(name: str) -> list[str]:
    with initialize_config_dir(str(resource_dir("configs").absolute()), version_base="1.3"):
        config = hydra_compose(name)
    return [key for key, _ in _flat(OmegaConf.to_container(config, resolve=False))]
