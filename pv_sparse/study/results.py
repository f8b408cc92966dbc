"""`results.json`: the rows that a study measured, and the machine it ran on."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from pv_sparse.errors import PvSparseError
from pv_sparse.whole_files import whole_file

RESULTS_FILE = "results.json"
DIGITS = 6


class Cell(NamedTuple):
    """What rows of different seeds have in common."""

    experiment: str
    data: str
    model: str
    variant: str


class Spread(NamedTuple):
    """Mean and sample standard deviation over `num_seeds` rows; the deviation of one is 0.0."""

    mean: float
    deviation: float
    num_seeds: int


@dataclass(frozen=True)
class Row:
    """One trained model, or fusion of several, tested once.

    Attributes:
        experiment: name of a file `configs/experiment/study_*.yaml`, without the suffix.
        data: `order20`, `appearance20`, `walking`, `untrimmed_order`, `untrimmed_appearance` or `spliced`.
        model, variant: names of the experiment's configuration.
        seed: of first weights and draws; the data are the same for all seeds, but for `spliced`, which it draws.
        top1: share of the test videos whose class had the highest score, 0 to 1; of `spliced`, rose most (`truth_of`).
        cpu_seconds: CPU time of the test, all videos together: opening, decoding, transform, network.
        decode_cpu_seconds: the part of it before the network.
        train_cpu_seconds: CPU time of the training, 0 where nothing was trained, or None for fused models.
        num_videos: of the test.
    """

    experiment: str
    data: str
    model: str
    variant: str
    seed: int
    top1: float
    cpu_seconds: float
    decode_cpu_seconds: float
    train_cpu_seconds: float | None
    num_videos: int

    @property
    def cell(self) -> Cell:
        return Cell(self.experiment, self.data, self.model, self.variant)

    def rounded(self) -> Self:
        """With floats of six digits after the point."""
        changed: dict[str, Any] = {
            name: round(value, DIGITS) for name, value in asdict(self).items() if isinstance(value, float)
        }
        return replace(self, **changed)


@dataclass(frozen=True)
class Results:
    """All that a study measured.

    Attributes:
        level: `quick`, `default` or `full`.
        machine: `processor`, `cores`, `accelerator` (a name, or None).
        versions: as `pv_sparse.versions` gives them.
        rows: by experiment, data, model and variant as they are configured, then by seed.
        commands: by experiment, the command that makes its rows.
    """

    level: str
    machine: Mapping[str, Any]
    versions: Mapping[str, Any]
    rows: Sequence[Row]
    commands: Mapping[str, str] = field(default_factory=dict)

    def cells(self) -> dict[Cell, list[Row]]:
        """The rows of all seeds by what they share, in the order of the rows."""
        cells: dict[Cell, list[Row]] = {}
        for row in self.rows:
            cells.setdefault(row.cell, []).append(row)
        return cells


def mean_and_deviation(rows: Sequence[Row], value: str = "top1") -> Spread:
    """Mean and sample standard deviation over the seeds of one cell.

    Args:
        rows: one or more.
        value: a field of `Row` that is a number in all of them.

    Raises:
        ValueError: no rows, or a value that one of them lacks.
    """
    values = [getattr(row, value) for row in rows]
    if not values or None in values:
        raise ValueError(f"{value} of {len(values)} rows has no mean: give one row or more that have it")
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))


def read_results(path: str | Path) -> Results:
    """The results of a file, or of a folder that has a `results.json`.

    Raises:
        PvSparseError: no such file, or one that no study wrote.
    """
    path = Path(path)
    file = path / RESULTS_FILE if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        rows = [Row(**{each.name: row[each.name] for each in fields(Row)}) for row in content["rows"]]
        return Results(content["level"], content["machine"], content["versions"], rows, content["commands"])
    except FileNotFoundError:
        raise PvSparseError(f"{file} is not there: `pv-sparse study` writes it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise PvSparseError(f"{file} has no results of a study: {error!r}") from error


def write_results(results: Results, path: str | Path) -> None:
    """Write all as JSON, one row a line; a file that is there stays until the new one is whole.

    Args:
        results: their floats are written with six digits after the point.
        path: of the file; its folder must be there.
    """
    rows = ",\n".join(f"    {json.dumps(asdict(row.rounded()))}" for row in results.rows)
    head = {key: getattr(results, key) for key in ("level", "machine", "versions", "commands")}
    text = json.dumps(head, indent=2).removesuffix("\n}") + f',\n  "rows": [\n{rows}\n  ]\n}}\n'
    with whole_file(Path(path)) as file:
        file.write(text.encode("utf-8"))
