"""Whether values are of the kind that is wanted of them, told in one line before anything computes with them."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from pv_sparse.errors import PvSparseError

# Their default does not tell their kind: "auto", a list of devices, or what submitit takes.
OF_ANY_KIND = ("data.batch_size", "devices", "launcher.")
# Of an integer, whole numbers; those that are null by default may be so.
LEAST = {
    "trainer.max_epochs": 1,
    "trainer.num_nodes": 1,
    "trainer.accumulate_grad_batches": 1,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.log_every_n_steps": 1,
    "trainer.gradient_clip_val": 0.0,
    "data.num_workers": 0,
    "num_workers": 0,
    "num_nodes": 1,
    "batch_size": 1,
    "checkpoint_every_steps": 0,
    "limit_train_videos": 1,
    "limit_val_videos": 1,
    "mixup_alpha": 0.0,
    "seed": 0,
}


def is_number(value: Any, whole: bool = False) -> bool:
    """Whether a value is a number, of Python or NumPy, and no bool; with `whole`, an integer."""
    return isinstance(value, Integral if whole else Real) and not isinstance(value, bool)


def check_types(values: Mapping[str, Any], defaults: Mapping[str, Any], may_be_null: Mapping[str, Any]) -> None:
    """That values by key are of the kind of their defaults, where those are numbers or bools, and not below the least.

    Args:
        values: of a configuration.
        defaults: of the same one without changes of single values.
        may_be_null: by key; those that are None here may be so.

    Raises:
        PvSparseError: the first that is not.
    """
    for key, default in defaults.items():
        value = values.get(key)
        is_left_out = value is None and (key not in values or may_be_null.get(key, default) is None)
        wanted = _wanted(default)
        if wanted and not (is_left_out or key.startswith(OF_ANY_KIND) or _is_like(value, default)):
            raise PvSparseError(f"{key}={_told(value)} is not allowed: it takes {wanted}")
    for key, least in LEAST.items():
        value = values.get(key)
        if value is not None and not (_is_like(value, least) and value >= least):
            kind = "whole number" if isinstance(least, int) else "number"
            raise PvSparseError(f"{key}={_told(value)} is not allowed: it must be a {kind} of at least {least}")


def _wanted(default: Any) -> str | None:
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, int):
        return f"a whole number, such as {default}"
    return f"a number, such as {default}" if isinstance(default, float) else None


def _is_like(value: Any, default: Any) -> bool:
    if isinstance(default, bool):
        return isinstance(value, bool)
    return is_number(value, whole=isinstance(default, int))


def _told(value: Any) -> str:
    """In the words of an override."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
