"""Tasks for processes that need not load torch first."""

import os
import signal


def shout(path: str) -> str:
    """Dies of what is bad."""
    if path.startswith("bad"):
        os.kill(os.getpid(), signal.SIGKILL)
    return path.upper()


def fill(path: str) -> bytes:
    """More than any pipe holds."""
    return path.encode() * 2**20
