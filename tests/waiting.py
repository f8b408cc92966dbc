"""Waiting for what another process does, without taking the processor from it."""

import subprocess
import time
from collections.abc import Callable

POLL_SECONDS = 0.005


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen | None = None) -> None:
    """Until something is so. A process that it depends on must not end before."""
    while not is_so():
        if process is not None and process.poll() is not None:
            told = process.stderr.read() if process.stderr is not None else ""
            raise AssertionError(f"the process ended with {process.returncode}: {told}")
        time.sleep(POLL_SECONDS)
