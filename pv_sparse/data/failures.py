"""Which files failed, told by workers to the process that started them."""

import json
import logging
import os
import shutil
import tempfile
import weakref
from pathlib import Path

logger = logging.getLogger(__name__)


class FailureLog:
    """Lines in a file that every copy of this object writes to, in whatever process it is.

    Worker processes have no other way back that works for forked, spawned and living-on workers alike. The file goes
    when the object that made it does.
    """

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="pv_sparse_failures_")
        self._told: set[str] = set()
        weakref.finalize(self, _remove, self._folder, os.getpid())

    def add(self, path: str, cause: str, epoch: int) -> None:
        """Log the first failure of a file in this process as a warning, and write every one down."""
        if path not in self._told:
            self._told.add(path)
            logger.warning("replaced by another video: %s", cause)
        Path(self._folder).mkdir(exist_ok=True)
        line = json.dumps([epoch, path, cause]) + "\n"
        # One write to a file opened for appending: lines of several processes do not mix.
        with open(self._file, "ab", buffering=0) as file:  # noqa: PTH123
            file.write(line.encode())

    def causes(self, epoch: int | None = None) -> dict[str, str]:
        """By path, in this epoch or in any."""
        if not self._file.exists():
            return {}
        entries = [json.loads(line) for line in self._file.read_text().splitlines()]
        return {path: cause for number, path, cause in entries if epoch in (None, number)}

    @property
    def _file(self) -> Path:
        return Path(self._folder) / "failures.jsonl"


def _remove(folder: str, owner: int) -> None:
    """A forked worker ends too, and must leave the file to the others."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
