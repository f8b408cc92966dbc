"""A finding, and the cells of an experiment that it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pv_sparse.study.findings_published import Published
from pv_sparse.study.report_cells import Measured
from pv_sparse.study.report_names import model_name
from pv_sparse.study.results import Cell

ORDERED = "ordered"


class MissingRowsError(LookupError):
    """A finding needs rows that the results do not have, as those of smaller levels may."""


@dataclass(frozen=True)
class Finding:
    """What the study says on one question.

    Attributes:
        experiment: the one whose rows it rests on.
        title: the statement in a few words, as the literature has it.
        published: what it is held against; empty where nothing was published.
        ours: what was measured.
        agrees: whether ours agrees with the published; None where it cannot be told, or nothing was published.
    """

    experiment: str
    title: str
    published: tuple[Published, ...]
    ours: str
    agrees: bool | None

    @property
    def verdict(self) -> str:
        """In words, for a table."""
        if not self.published:
            return "nothing published"
        return {True: "agrees", False: "does not agree", None: "cannot tell"}[self.agrees]


class Evidence:
    """The cells of one experiment, by data set, model and variant.

    Args:
        cells: of the whole study.
        experiment: the one that is asked for.
    """

    def __init__(self, cells: Mapping[Cell, Measured], experiment: str):
        self.experiment = experiment
        self._cells = {key: cell for key, cell in cells.items() if key.experiment == experiment}

    def cell(self, data: str, model: str, variant: str = ORDERED) -> Measured:
        """Raises `MissingRowsError` where there is none."""
        key = Cell(self.experiment, data, model, variant)
        if key not in self._cells:
            raise MissingRowsError(f"no rows of {', '.join(key)}")
        return self._cells[key]

    def models(self, data: str, variant: str = ORDERED, among: Sequence[str] | None = None) -> dict[str, Measured]:
        """The cells of the models that there are, or of those `among`; `MissingRowsError` for none."""
        found = {
            key.model: cell
            for key, cell in self._cells.items()
            if (key.data, key.variant) == (data, variant) and (among is None or key.model in among)
        }
        if not found:
            raise MissingRowsError(f"no rows of {self.experiment}, {data}, {variant}")
        return found

    def variants(self, data: str, model: str) -> dict[str, Measured]:
        """The cells of one model; `MissingRowsError` where there is none."""
        found = {key.variant: cell for key, cell in self._cells.items() if (key.data, key.model) == (data, model)}
        if not found:
            raise MissingRowsError(f"no rows of {self.experiment}, {data}, {model}")
        return found

    def data(self) -> list[str]:
        """The data sets that there are."""
        return list(dict.fromkeys(key.data for key in self._cells))


def told(cells: Mapping[str, Measured]) -> str:
    """`TSN average 49.8 ± 0.3 %; ...`"""
    return "; ".join(f"{model_name(model)} {cell}" for model, cell in cells.items())


def points(difference: float, deviation: float | None = None) -> str:
    """A difference of accuracies in points: `+3.2 points`, `+3.2 ± 0.4 points`."""
    spread = "" if deviation is None else f" ± {100 * deviation:.1f}"
    rounded = round(100 * difference, 1) + 0.0  # no -0.0
    return f"{rounded:+.1f}{spread} points"


def aim(reached: bool, what: str) -> str:
    """What the study aimed at, and whether it got there."""
    return f"The aim, {what}, is {'reached' if reached else 'not reached'}."
