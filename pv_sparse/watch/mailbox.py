"""Between the thread that reads and the one that looks: a few frames at most, or the newest alone."""

import threading
from collections import deque

from pv_sparse.watch.arrivals import Arrival

FRAMES = 2  # that wait for the model, so that it never waits for the decoder
MESSAGES = 100
POLL_SECONDS = 0.1  # a signal's handler runs at once, but does not wake the thread that it interrupted


class Mailbox:
    """Frames and messages in their order, from one thread to another.

    Attributes:
        dropped: frames that made room for newer ones.
    """

    def __init__(self) -> None:
        self._items: deque[Arrival | str] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._error: Exception | None = None
        self.dropped = 0

    def put(self, arrival: Arrival, replaces: bool) -> bool:
        """Leave a frame; False where nobody takes any more.

        Args:
            arrival: the frame.
            replaces: whether it takes the place of the one that waits, which is dropped; if not, it waits for room.
        """
        with self._changed:
            if replaces:
                self._drop()
            self._changed.wait_for(lambda: self._is_closed or self._num_frames < FRAMES)
            if not self._is_closed:
                self._items.append(arrival)
                self._changed.notify_all()
            return not self._is_closed

    def tell(self, message: str) -> None:
        """Leave a message; of too many, the oldest are lost."""
        with self._changed:
            messages = [item for item in self._items if isinstance(item, str)]
            if len(messages) >= MESSAGES:
                self._items.remove(messages[0])
            self._items.append(message)
            self._changed.notify_all()

    def close(self, error: Exception | None = None) -> None:
        """Nothing comes any more, or nothing is taken; `error` is raised by the `take` that finds nothing left."""
        with self._changed:
            self._is_closed, self._error = True, self._error or error
            self._changed.notify_all()

    def take(self) -> Arrival | str | None:
        """The oldest item; None where none came in a moment.

        Raises:
            EOFError: all was taken, and nothing comes any more.
            Exception: the error of `close`, in its place.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._is_closed, POLL_SECONDS)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._is_closed:
                raise self._error or EOFError
            return None

    @property
    def _num_frames(self) -> int:
        return sum(isinstance(item, Arrival) for item in self._items)

    def _drop(self) -> None:
        for item in [item for item in self._items if isinstance(item, Arrival)]:
            self._items.remove(item)
            self.dropped += 1
