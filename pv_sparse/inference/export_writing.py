"""From a traced model to files: written beside their place, read again, compared with the module, then moved there."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pv_sparse import __version__
from pv_sparse.errors import PvSparseError
from pv_sparse.inference.export_torch import Exported, Network


@dataclass(frozen=True)
class Check:
    """What a file must answer.

    Attributes:
        batches: videos (N, C, T, H, W), of several N.
        expected: the module's outputs for each, by name.
        tolerance: of a difference, in units of the largest logit where that is above 1.
    """

    batches: Sequence[Tensor]
    expected: Sequence[Mapping[str, Tensor]]
    tolerance: float

    @property
    def largest_logit(self) -> float:
        return max(float(values.abs().max()) for outputs in self.expected for values in outputs.values())

    def difference(self, exported: Exported, path: Path) -> float:
        """The largest of any logit; `PvSparseError` where it is above the tolerance, or the file cannot be run."""
        try:
            network = exported.load(path)
            pairs = zip(self.batches, self.expected, strict=True)
            largest = _max([_difference(network, *pair) for pair in pairs])
        except (OSError, MemoryError):
            raise
        except Exception as error:  # of every kind, as deep in torch or onnxruntime as it may be
            raise PvSparseError(f"{path.name}: the exported model cannot be run: {first_line(error)}") from error
        allowed = self.tolerance * max(1.0, self.largest_logit)
        if not largest <= allowed:
            raise PvSparseError(
                f"{path.name}: logits of the exported model differ by {largest:.2g} from the module's, and "
                f"{allowed:.2g} is allowed: nothing was written"
            )
        return largest


def write(
    exported: Exported, path: Path, description: Mapping[str, Any], check: Check
) -> tuple[float, tuple[Path, ...]]:
    """Saved twice: to measure, and with what was measured in it.

    Returns:
        The largest difference, and the files.

    Raises:
        ValueError: the description would replace that of another model's file.
        PvSparseError: as `Check.difference`.
    """
    check_description(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=".part") as folder:
        part = Path(folder) / path.name
        exported.save(part, "")
        difference = check.difference(exported, part)
        text = _as_json(exported, path, description, check, difference)
        exported.save(part, text)
        Check(check.batches[:1], check.expected[:1], check.tolerance).difference(exported, part)
        part.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
        return difference, _move(part, path)


def check_description(path: Path) -> None:
    """`ValueError` where the `.json` of this name describes another file, of another ending, that is there."""
    beside = path.with_suffix(".json")
    try:
        other = json.loads(beside.read_text(encoding="utf-8"))["file"]
    except (OSError, ValueError, LookupError, TypeError):  # none, or none of ours
        return
    if isinstance(other, str) and other not in ("", path.name) and (path.parent / Path(other).name).is_file():
        raise ValueError(f"{path}: {beside.name} describes {other}, which is there: choose another name")


def first_line(error: Exception) -> str:
    """Of what it says; errors of torch go on with where in C++ they come from."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _difference(network: Network, video: Tensor, expected: Mapping[str, Tensor]) -> float:
    found = network(video)
    given, wanted = ({name: tuple(values.shape) for name, values in own.items()} for own in (found, expected))
    if given != wanted:
        raise ValueError(f"for a batch of {len(video)} it gives {given}, and the module {wanted}")
    return _max([float((found[name] - values).abs().max()) for name, values in expected.items()])


def _max(values: Sequence[float]) -> float:
    """NaN where one is: Python's own `max` may pass over it."""
    return float(torch.tensor(values, dtype=torch.float64).max())


def _as_json(exported: Exported, path: Path, description: Mapping[str, Any], check: Check, difference: float) -> str:
    whole = {
        "file": path.name,
        "format": exported.title,
        "versions": {"pv_sparse": __version__, "torch": str(torch.__version__), **exported.versions},
        "check": {
            "largest_difference": difference,
            "largest_logit": check.largest_logit,
            "batch_sizes": sorted(len(batch) for batch in check.batches),
        },
        **description,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False)


def _move(part: Path, path: Path) -> tuple[Path, ...]:
    """The files beside `part` to their places beside `path`: weights of their own, model, description."""
    last = [path.name, path.with_suffix(".json").name]
    names = [*sorted({own.name for own in part.parent.iterdir()} - set(last)), *last]
    for name in names:
        with (part.parent / name).open("rb+") as file:
            os.fsync(file.fileno())
    targets = tuple(path.with_name(name) for name in names)
    # Broken off in the middle, no old file is beside a new one; nor are weights that the new model has inside.
    for old in (*reversed(targets[1:]), *{path.with_name(f"{path.name}.data")} - set(targets)):
        old.unlink(missing_ok=True)
    for target in targets:
        os.replace(part.with_name(target.name), target)
    return targets
