"""Early exit measured from weights and a folder of videos to what is printed."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from pv_sparse.bench.early_exit import labelled_for, watch
from pv_sparse.bench.early_exit_table import Calibration, Trade, calibrate, trades, trades_table
from pv_sparse.data.annotations import read_class_folders
from pv_sparse.early_exit import EarlyExit
from pv_sparse.errors import PvSparseError
from pv_sparse.recognition import Recognizer
from pv_sparse.zoo.weights import Weights

FAILURES_TOLD = 10


@dataclass(frozen=True)
class EarlyExitReport:
    """What was measured, on what.

    Attributes:
        weights: their name.
        data: the folder.
        select: the selector, by name; None is coarse to fine.
        max_segments: of the rounds, and the fixed number that all is compared to.
        made_for: segments that the model was made for; None where any number is as good.
        num_videos: in the folder.
        failed: why, by the path of each that could not be read.
        calibration: the temperature.
        rows: the table, of the videos that the temperature was not fitted on.
    """

    weights: str
    data: str
    select: str | None
    max_segments: int
    made_for: int | None
    num_videos: int
    failed: dict[str, str]
    calibration: Calibration
    rows: list[Trade]

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and texts."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        order = "coarse to fine" if self.select is None else f"select={self.select}"
        own = "" if self.made_for is None else f", by a model that was made for {self.made_for}"
        return [
            f"{self.weights} on {self.data}: {self.num_videos} videos, {len(self.failed)} failed",
            *[f"Failed: {reason}" for reason in [*self.failed.values()][:FAILURES_TOLD]],
            *([f"and {len(self.failed) - FAILURES_TOLD} more"] if len(self.failed) > FAILURES_TOLD else []),
            f"{self.max_segments} segments at most, {order}{own}",
            str(self.calibration),
            f"CPU ms of one of these {self.calibration.num_held}, opening, decoding and network together: mean, "
            f"median, quartiles; last, the mean to that of {self.max_segments} segments at once",
            "",
            *trades_table(self.rows),
        ]


def measure_early_exit(
    weights: Weights,
    root: str,
    device: str = "cpu",
    max_segments: int = EarlyExit.max_segments,
    select: str | None = None,
    precision: str | None = None,
    compiled: bool = False,
    tell: Callable[[str], object] = lambda _: None,
) -> EarlyExitReport:
    """Fit the temperature on half of the videos, and measure early exit on the others.

    Args:
        weights: of one task, whose model can stop early.
        root: a folder with a folder of videos for each class, named as the weights' categories.
        device, select, precision, compiled: as of `Recognizer`.
        max_segments: of the rounds.
        tell: hears what is measured next.

    Raises:
        PvSparseError: weights or folders that do not go together; no videos, or fewer than two that can be read.
        ValueError: a model that cannot stop early; an unknown selector; a number below 1.
    """
    rule = EarlyExit(confidence=1.0, max_segments=max_segments)
    videos = labelled_for(weights, read_class_folders(root), root)
    recognizer = Recognizer(weights, device, precision=precision, compiled=compiled, select=select, early_exit=rule)
    watched, failed = watch(recognizer, videos, max_segments, tell)
    if not watched:
        raise PvSparseError(f"{root}: none of {len(videos)} videos can be read, such as {next(iter(failed.values()))}")
    calibration, held = calibrate(watched, weights.exit_temperature or 1.0)
    return EarlyExitReport(
        weights=weights.name,
        data=root,
        select=select,
        max_segments=max_segments,
        made_for=getattr(recognizer.model, "num_segments", None),
        num_videos=len(videos),
        failed=failed,
        calibration=calibration,
        rows=trades(held, calibration.temperature),
    )
