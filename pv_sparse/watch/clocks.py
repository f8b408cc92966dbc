"""Time that passes, and waiting that can be cut short: one clock for the reader and the watcher."""

import threading
import time

LEAP_SECONDS = 10.0  # timestamps that are further apart have leapt, and nobody waits for them
CATCH_UP = 0.01


class Clock:
    """The machine's own time. `stop` ends every wait, now and later; it may be called from any thread."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def now(self) -> float:
        """Seconds since some moment; never goes back."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Until so many seconds are over, or the clock is stopped."""
        if seconds > 0:
            self._stopped.wait(seconds)

    def stop(self) -> None:
        self._stopped.set()

    @property
    def is_stopped(self) -> bool:
        return self._stopped.is_set()


class Pace:
    """Holds frames back until they are shown.

    Args:
        clock: what is waited by.
        keeps: whether times are kept to from the first frame on, so that frames which come late do so alone. If not,
            each is as far from the one before as its time says, however late that was, and a hundredth less: so a
            live stream that comes in bursts plays at its own rate, and what it fell behind is made good by and by.
    """

    def __init__(self, clock: Clock, keeps: bool):
        self._clock, self._keeps = clock, keeps
        self._shown: tuple[float, float] | None = None

    def restart(self) -> None:
        """The next frame is shown at once."""
        self._shown = None

    def hold(self, seconds: float) -> None:
        """Until the frame of this time in the stream is shown; not at all where that is further off than a leap."""
        now = self._clock.now()
        shown_at, before = self._shown or (now, seconds)
        due = shown_at + (seconds - before) * (1.0 if self._keeps else 1 - CATCH_UP)
        is_leap = due - now > LEAP_SECONDS
        if not is_leap:
            self._clock.wait(due - now)
        self._shown = (now if is_leap else due if self._keeps else max(now, due), seconds)
