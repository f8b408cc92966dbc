"""The trade between accuracy and cost: what early exit does at some confidences, beside fixed numbers of segments."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from pv_sparse.bench.calibration import expected_calibration_error, fit_temperature
from pv_sparse.bench.columns import Cell, columns
from pv_sparse.bench.early_exit import Answer, Watched
from pv_sparse.bench.timing import percentile
from pv_sparse.early_exit import certainty
from pv_sparse.errors import PvSparseError

CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
COLUMNS = ("", "top-1 %", "segments", "CPU ms", "median", "p25", "p75", "of fixed")


@dataclass(frozen=True)
class Trade:
    """One way of looking.

    Attributes:
        what: for people.
        confidence: at which it stops; None where the number of segments is fixed.
        top1: the share of right answers, in [0, 1].
        mean_segments: looked at, a video.
        cpu_seconds: of a video, the mean: what many videos cost. Then the median, and the quartiles.
        ratio: of the mean to that of the highest fixed number of segments.
    """

    what: str
    confidence: float | None
    top1: float
    mean_segments: float
    cpu_seconds: float
    median_cpu_seconds: float
    p25_cpu_seconds: float
    p75_cpu_seconds: float
    ratio: float


@dataclass(frozen=True)
class Calibration:
    """A temperature, and what it is worth on other videos.

    Attributes:
        temperature: fitted on half of the videos, over the answers after every round.
        num_fitted: videos that it was fitted on.
        num_held: the others, which the errors, and the table, are of.
        error_before: the expected calibration error in [0, 1], at the temperature of before, and that.
        error_after: with the fitted temperature.
    """

    temperature: float
    num_fitted: int
    num_held: int
    temperature_before: float
    error_before: float
    error_after: float

    def __str__(self) -> str:
        return (
            f"Temperature {self.temperature:g}, fitted on every second video ({self.num_fitted}); on the "
            f"{self.num_held} others the expected calibration error is {self.error_after:.3f}, and was "
            f"{self.error_before:.3f} at {self.temperature_before:g}"
        )


def calibrate(watched: Sequence[Watched], temperature_before: float) -> tuple[Calibration, list[Watched]]:
    """The temperature by the first, third, ... video, and the others, on which it was not fitted.

    Raises:
        PvSparseError: fewer than two videos.
    """
    fitted, held = watched[::2], watched[1::2]
    if not held:
        raise PvSparseError(
            f"{len(watched)} video{' was' if len(watched) == 1 else 's were'} read: half of them fit the temperature, "
            "the others are measured: give two at least, better some hundreds"
        )
    temperature = fit_temperature(*_answers(fitted))
    errors = [expected_calibration_error(*_answers(held), own) for own in (temperature_before, temperature)]
    return Calibration(temperature, len(fitted), len(held), temperature_before, *errors), [*held]


def trades(watched: Sequence[Watched], temperature: float) -> list[Trade]:
    """The rows: first the confidences, then the fixed numbers of segments, of which the last is compared to."""
    counts = sorted(watched[0].fixed)
    full = fmean(video.fixed[counts[-1]].cpu_seconds for video in watched)
    ways: list[tuple[str, float | None, list[Answer]]] = [
        (f"confidence {least:g}", least, [stopped(video.rounds, least, temperature) for video in watched])
        for least in CONFIDENCES
    ]
    ways += [(f"fixed, {count} at once", None, [video.fixed[count] for video in watched]) for count in counts]
    labels = [video.label for video in watched]
    return [_trade(what, confidence, answers, labels, full) for what, confidence, answers in ways]


def stopped(rounds: Sequence[Answer], confidence: float, temperature: float) -> Answer:
    """The first that is sure enough, or the last."""
    sure = (answer for answer in rounds if certainty(answer.logits, temperature) >= confidence)
    return next(sure, rounds[-1])


def trades_table(rows: Iterable[Trade]) -> list[str]:
    """For people."""
    return columns(COLUMNS, [_cells(row) for row in rows])


def _trade(what: str, confidence: float | None, answers: Sequence[Answer], labels: Sequence[int], full: float) -> Trade:
    seconds = [answer.cpu_seconds for answer in answers]
    right = [int(answer.logits.argmax()) == label for answer, label in zip(answers, labels, strict=True)]
    return Trade(
        what=what,
        confidence=confidence,
        top1=fmean(right),
        mean_segments=fmean(answer.num_segments for answer in answers),
        cpu_seconds=fmean(seconds),
        median_cpu_seconds=percentile(seconds, 50),
        p25_cpu_seconds=percentile(seconds, 25),
        p75_cpu_seconds=percentile(seconds, 75),
        ratio=fmean(seconds) / full,
    )


def _cells(row: Trade) -> list[Cell]:
    seconds = (row.cpu_seconds, row.median_cpu_seconds, row.p25_cpu_seconds, row.p75_cpu_seconds)
    told: list[Cell] = [1e3 * own for own in seconds]
    return [row.what, f"{100 * row.top1:.1f}", f"{row.mean_segments:.2f}", *told, f"{row.ratio:.2f}"]


def _answers(watched: Iterable[Watched]) -> tuple[Tensor, Tensor]:
    """Logits (N, num_classes) after every round of every video, and the labels (N,)."""
    pairs = [(answer.logits, video.label) for video in watched for answer in video.rounds]
    return torch.stack([logits for logits, _ in pairs]), torch.tensor([label for _, label in pairs])
