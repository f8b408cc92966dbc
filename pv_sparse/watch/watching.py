"""The loop: a frame is taken, shown to the model, and its answer told to the observers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from pv_sparse.recognition import ClassScore
from pv_sparse.watch.arrivals import Arrival
from pv_sparse.watch.clocks import Clock
from pv_sparse.watch.observers import Observer, StreamFrame, WatchRecord
from pv_sparse.watch.reading import Reader

RECENT_FRAMES = 1024


class Prediction(Protocol):
    """What `OnlineRecognizer` answers."""

    @property
    def frame_indices(self) -> list[int]: ...

    def best(self, top_k: int = 5) -> list[ClassScore]: ...


class OnlineModel(Protocol):
    """An `OnlineRecognizer`, or what acts like one."""

    def update(self, frame: Tensor) -> Prediction | None: ...


@dataclass(frozen=True)
class Names:
    """What stands in every record: the source, the weights; and how many classes."""

    source: str
    weights: str
    top_k: int


@dataclass
class Counts:
    """Of a whole watch: the frames that went to the model, and its answers."""

    looked_at: int = 0
    answers: int = 0


class ShownFrames:
    """Where in the stream the frames stand that a model was shown, by its own count of them.

    Kept are those that the newest answer read, and the last `RECENT_FRAMES`: a model's memory holds no others.
    """

    def __init__(self) -> None:
        self._places: dict[int, tuple[int, float]] = {}
        self._num_shown = 0
        self._read: set[int] = set()

    def __len__(self) -> int:
        return len(self._places)

    def add(self, number: int, time_seconds: float) -> None:
        """The frame that the model is shown next."""
        self._places[self._num_shown] = (number, time_seconds)
        self._num_shown += 1
        self._forget({self._num_shown - RECENT_FRAMES - 1} - self._read)

    def places(self, indices: Sequence[int]) -> tuple[list[int], list[float]]:
        """The numbers and times of the frames with these indices, which an answer read."""
        found = [self._places[index] for index in indices]
        before, self._read = self._read, set(indices)
        self._forget({index for index in before - self._read if index < self._num_shown - RECENT_FRAMES})
        return [number for number, _ in found], [seconds for _, seconds in found]

    def _forget(self, indices: set[int]) -> None:
        for index in indices:
            self._places.pop(index, None)


def watch(
    reader: Reader, model: OnlineModel, observers: Sequence[Observer], names: Names, clock: Clock, counts: Counts
) -> None:
    """Until the stream ends, or `clock` is stopped. `counts` is counted up.

    Raises:
        PvSparseError: the stream broke off, or an observer failed.
    """
    shown = ShownFrames()
    while not clock.is_stopped:
        try:
            item = reader.mailbox.take()
        except EOFError:
            return
        if isinstance(item, Arrival):
            counts.looked_at += 1
            record = _look(item, reader, model, observers, names, shown, clock)
            counts.answers += record is not None
        elif item is not None:
            for observer in observers:
                observer.told(item)
        else:
            reader.check()


def _look(
    arrival: Arrival,
    reader: Reader,
    model: OnlineModel,
    observers: Sequence[Observer],
    names: Names,
    shown: ShownFrames,
    clock: Clock,
) -> WatchRecord | None:
    came_at = clock.now() if arrival.came_at is None else arrival.came_at
    frame = StreamFrame(arrival.picture(), arrival.number, arrival.time_seconds)
    for observer in observers:
        observer.saw(frame)
    shown.add(frame.number, frame.time_seconds)
    prediction = model.update(frame.picture)
    if prediction is None:
        return None
    numbers, times = shown.places(prediction.frame_indices)
    record = WatchRecord(
        path=names.source,
        error=None,
        weights=names.weights,
        num_frames=arrival.number + 1,
        frame_indices=numbers,
        frame_times_seconds=times,
        classes=prediction.best(names.top_k),
        time_seconds=arrival.time_seconds,
        latency_seconds=clock.now() - came_at,
        dropped_frames=reader.mailbox.dropped,
    )
    for observer in observers:
        observer.answered(record)
    return record
