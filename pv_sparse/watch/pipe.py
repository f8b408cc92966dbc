"""Standard input for PyAV: a regular file can be sought in; a pipe is waited for, but not forever."""

import io
import os
import select
import stat
import time
from typing import BinaryIO

from pv_sparse.watch.clocks import Clock

POLL_SECONDS = 0.1


class Pipe:
    """The bytes of a pipe, as PyAV reads them: no `seek`, and so no container that needs it.

    A Python file's `read` would hold its lock while it waits, and a program that ends meanwhile would crash on it.

    Args:
        descriptor: of the pipe; it is left open.
        timeout: seconds without a byte that are too many.
        clock: ends the bytes when it is stopped.

    Attributes:
        num_bytes: so far.
    """

    def __init__(self, descriptor: int, timeout: float, clock: Clock):
        self._descriptor, self._timeout, self._clock = descriptor, timeout, clock
        self.num_bytes = 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end. `TimeoutError` where nothing comes."""
        deadline = time.monotonic() + self._timeout
        while not self._clock.is_stopped:
            # Windows cannot wait for a pipe: there, reading does.
            if os.name == "nt" or select.select([self._descriptor], [], [], POLL_SECONDS)[0]:
                content = os.read(self._descriptor, size)
                self.num_bytes += len(content)
                return content
            if time.monotonic() > deadline:
                raise TimeoutError
        return b""


def standard_input(timeout: float, clock: Clock, descriptor: int = 0) -> Pipe | BinaryIO:
    """What standard input is: a pipe, or a file that was redirected into it."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return io.FileIO(descriptor, "rb", closefd=False)
    return Pipe(descriptor, timeout, clock)


def is_empty(file: Pipe | BinaryIO) -> bool:
    """Whether no byte has come through it."""
    return not (file.num_bytes if isinstance(file, Pipe) else os.fstat(file.fileno()).st_size)
