"""Ctrl-C and SIGTERM: the watch ends as if the stream had, and the program with the code of a stopped program."""

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self

import click

from pv_sparse.errors import one_line
from pv_sparse.watch.clocks import Clock


class Stops:
    """A context that both signals end: the program exits with 128 + the signal's number, as a shell reports it.

    At first they do so at once. After `defer`, the first signal stops `clock`, and the exit is where the context is
    left; the second one ends the program where it is. An error after a signal is told on standard error, and does not
    change the exit.
    """

    def __init__(self, clock: Clock):
        self._clock = clock
        self._defers = False
        self._number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def defer(self) -> None:
        """From now on there is work that wants to be finished."""
        self._defers = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._number is not None and (error is None or isinstance(error, Exception)):
            if error is not None:
                tell_error(error)
            sys.exit(128 + self._number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._number is not None or not self._defers:
            sys.exit(128 + number)
        self._number = number
        self._clock.stop()


def tell_error(error: Exception) -> None:
    """One line on standard error, for an error that does not end the program; none for a pipe nobody reads."""
    if not isinstance(error, BrokenPipeError):
        click.echo(one_line(error), err=True)
