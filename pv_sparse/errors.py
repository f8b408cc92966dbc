"""The errors that name a user's file or argument; everything else that is raised is a Python built-in."""

from pathlib import Path


class PvSparseError(Exception):
    """A mistake in what was given, told in one line."""


class VideoDecodeError(PvSparseError):
    """A video that cannot be read: `path`, `cause`, and the `frame` (0-based) where one frame is at fault."""

    def __init__(self, path: str | Path, cause: str, frame: int | None = None):
        self.path, self.cause, self.frame = str(path), cause, frame
        super().__init__(str(path), cause, frame)

    def __str__(self) -> str:
        at_frame = "" if self.frame is None else f"frame {self.frame}: "
        return f"{self.path}: {at_frame}{self.cause}"


class WeightsError(PvSparseError, ValueError):
    """Weights that are unknown, missing, damaged, or that do not fit the model."""


def one_line(error: Exception) -> str:
    """What an error says, on one line; the kind of error too where it says nothing of ours."""
    text = " ".join(str(error).split()) or type(error).__name__
    is_told = isinstance(error, (PvSparseError, OSError, ValueError))
    return text if is_told else f"{type(error).__name__}: {text} (--debug shows where)"
