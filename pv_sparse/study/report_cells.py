"""The rows of a study as its report reads them: means and deviations over seeds, and what a difference is worth."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pv_sparse.study.results import Cell, Results, Row, mean_and_deviation

# A difference of accuracies counts from this many of its standard errors on.
ERRORS_THAT_COUNT = 2.0
# What "at least as good" forgives: a point of accuracy.
A_POINT = 0.01
ROUNDING = 1e-9


@dataclass(frozen=True)
class Measured:
    """What the seeds of one cell say together.

    Attributes:
        mean: of top-1 over the seeds, from 0 to 1.
        deviation: the sample standard deviation over the seeds, 0 for a single one.
        num_seeds: how many seeds.
        num_videos: of the test.
        cpu_ms: CPU milliseconds of a video: opening, decoding, transform and network.
        decode_ms: the share of them before the network.
        train_cpu_seconds: of a training run; None of fused models.
    """

    mean: float
    deviation: float
    num_seeds: int
    num_videos: int
    cpu_ms: float
    decode_ms: float
    train_cpu_seconds: float | None

    def __str__(self) -> str:
        spread = f" ± {100 * self.deviation:.1f}" if self.num_seeds > 1 else ""
        return f"{100 * self.mean:.1f}{spread} %"

    @property
    def standard_error(self) -> float:
        """Of the mean: what other seeds and other test videos would change. Seeds share the videos of the test.

        Two right answers and two wrong ones are added, as Agresti and Coull (The American Statistician, 1998) have it:
        an accuracy of 0 or 1 is not free of error.
        """
        number = self.num_videos + 4
        share = (self.mean * self.num_videos + 2) / number
        of_videos = share * (1 - share) / number
        return math.sqrt(self.deviation**2 / self.num_seeds + of_videos)


def measured(results: Results) -> dict[Cell, Measured]:
    """Every cell of the study, in the order of the rows."""
    return {cell: _measured(rows) for cell, rows in results.cells().items()}


def have_deviations(cells: Iterable[Measured]) -> bool:
    """Whether any was measured with several seeds; one seed has no deviation."""
    return any(cell.num_seeds > 1 for cell in cells)


def above(higher: Measured, lower: Measured) -> bool | None:
    """Whether one accuracy is above another; None where they differ by less than counts (`ERRORS_THAT_COUNT`)."""
    difference = higher.mean - lower.mean
    return None if abs(difference) <= _least_that_counts(higher, lower) else difference > 0


def not_below(higher: Measured, lower: Measured) -> bool | None:
    """Whether one accuracy is at least another, but for `A_POINT`; None where it is lower by less than counts."""
    difference = higher.mean - lower.mean
    if difference >= -A_POINT - ROUNDING:
        return True
    return None if abs(difference) <= _least_that_counts(higher, lower) else False


def all_of(verdicts: Sequence[bool | None]) -> bool | None:
    """False where one is False, else None where one cannot tell, else True."""
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _least_that_counts(first: Measured, second: Measured) -> float:
    return ERRORS_THAT_COUNT * math.hypot(first.standard_error, second.standard_error)


def _measured(rows: Sequence[Row]) -> Measured:
    mean, deviation, number = mean_and_deviation(rows)
    is_trained = all(row.train_cpu_seconds is not None for row in rows)
    return Measured(
        mean=mean,
        deviation=deviation,
        num_seeds=number,
        num_videos=rows[0].num_videos,
        cpu_ms=statistics.fmean(1000 * row.cpu_seconds / row.num_videos for row in rows),
        decode_ms=statistics.fmean(1000 * row.decode_cpu_seconds / row.num_videos for row in rows),
        train_cpu_seconds=mean_and_deviation(rows, "train_cpu_seconds").mean if is_trained else None,
    )
