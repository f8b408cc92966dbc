"""What is told of a stream in text: a JSON line for each answer, and what happened, on standard error."""

import contextlib
import json
import math
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

import click

from pv_sparse.errors import PvSparseError
from pv_sparse.watch.observers import StreamFrame, WatchRecord


class Teller:
    """Says on standard error what happens to the stream."""

    def saw(self, frame: StreamFrame) -> None:
        pass

    def answered(self, record: WatchRecord) -> None:
        pass

    def told(self, message: str) -> None:
        click.echo(message, err=True)

    def close(self) -> None:
        pass


class LinePrinter(Teller):
    """Prints each answer on standard output, at once.

    Raises:
        BrokenPipeError: nobody reads them any more.
        PvSparseError: they cannot be written.
    """

    def answered(self, record: WatchRecord) -> None:
        try:
            click.echo(_json(record))
        except OSError as error:
            _give_up_standard_output()
            if isinstance(error, BrokenPipeError):
                raise
            raise PvSparseError(f"standard output: {error.strerror}") from error

    def told(self, message: str) -> None:
        pass


class LineFile(LinePrinter):
    """Writes each answer to the end of a new file, at once, so that a kill loses none that was given.

    Raises:
        PvSparseError: there is such a file with something in it; or, later, a line cannot be written: the lines before
            it stay, and no part of it.
    """

    def __init__(self, path: str):
        self._path = path
        check_is_new("--output", path)
        self._file: BinaryIO = Path(path).open("ab", buffering=0)  # noqa: SIM115
        self._num_bytes = 0

    def answered(self, record: WatchRecord) -> None:
        rest = memoryview(_json(record).encode() + b"\n")
        end = self._num_bytes + len(rest)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._num_bytes)
            raise PvSparseError(f"--output {self._path}: {error.strerror}; the lines before stay") from error
        self._num_bytes = end

    def close(self) -> None:
        self._file.close()


def check_is_new(option: str, path: str) -> None:
    """`PvSparseError` for a file with something in it, or in no folder: nothing is written over, nothing found late."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise PvSparseError(f"{option} {path}: there is no folder {folder}")
    if Path(path).is_file() and Path(path).stat().st_size:
        raise PvSparseError(f"{option} {path}: it is there already: remove it, or choose another name")


def finite(value: Any) -> Any:
    """Dicts and lists as they are, but None for every number that is not finite: JSON has none of those."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json(record: WatchRecord) -> str:
    return json.dumps(finite(record.as_dict()), allow_nan=False)


def _give_up_standard_output() -> None:
    """What is left in its buffer would fail again when the program ends."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
