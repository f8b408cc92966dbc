"""What each process of an evaluation writes, and how the parts become one."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pv_sparse.errors import PvSparseError
from pv_sparse.whole_files import whole_file

FOLDER = "parts"
Look = dict[str, Any]


@dataclass(frozen=True)
class Merged:
    """All videos of an evaluation.

    Attributes:
        looks: by the video's number in its list: `row` (that number), `error`, `num_frames`, `frame_indices`,
            `frame_times_seconds`.
        rows: (N,) int64, numbers of the videos that were read, increasing.
        logits: by task, (V, N, C) float32, in the order of `rows`.
    """

    looks: list[Look]
    rows: np.ndarray
    logits: dict[str, np.ndarray]


def write_part(
    out: Path, rank: int, looks: Sequence[Look], rows: Sequence[int], logits: Mapping[str, np.ndarray]
) -> None:
    """The part of one process, with `logits` (V, n, C) of its `rows`; none where it read no video."""
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(json.dumps(look) for look in looks)
    arrays: dict[str, Any] = {f"logits.{task}": values for task, values in logits.items()}
    with whole_file(_part(out, rank)) as file:
        np.savez(file, looks=np.frombuffer(lines.encode("ascii"), np.uint8), rows=np.array(rows, np.int64), **arrays)


def merge_parts(out: Path, world_size: int, num_videos: int) -> Merged:
    """Every video once, whatever process had it, or several had.

    Raises:
        PvSparseError: a part that is not there, or a video that is in none.
    """
    looks: dict[int, Look] = {}
    for arrays in _parts(out, world_size):
        looks |= {look["row"]: look for look in map(json.loads, arrays["looks"].tobytes().splitlines())}
    if len(looks) < num_videos:
        raise PvSparseError(f"{num_videos - len(looks)} of {num_videos} videos were not evaluated: no process had them")
    rows = np.array([row for row in sorted(looks) if looks[row]["error"] is None], dtype=np.int64)
    logits: dict[str, np.ndarray] = {}
    for arrays in _parts(out, world_size):
        _place(logits, arrays, rows)
    return Merged([looks[row] for row in sorted(looks)], rows, logits)


def remove_parts(out: Path, world_size: int) -> None:
    """The parts of these processes; a folder that holds others stays."""
    for rank in range(world_size):
        _part(out, rank).unlink(missing_ok=True)
    if (out / FOLDER).is_dir() and not any((out / FOLDER).iterdir()):
        (out / FOLDER).rmdir()


def _place(logits: dict[str, np.ndarray], arrays: Mapping[str, np.ndarray], rows: np.ndarray) -> None:
    is_kept = np.isin(arrays["rows"], rows)
    places = np.searchsorted(rows, arrays["rows"][is_kept])
    for key in arrays:
        word, _, task = key.partition(".")
        if word == "logits":
            values = arrays[key]
            if task not in logits:
                logits[task] = np.empty((len(values), len(rows), values.shape[2]), dtype=np.float32)
            logits[task][:, places] = values[:, is_kept]


def _parts(out: Path, world_size: int) -> Iterator[Mapping[str, np.ndarray]]:
    """Read array by array, so that no more than one of a part's is in memory."""
    for rank in range(world_size):
        path = _part(out, rank)
        if not path.exists():
            raise PvSparseError(
                f"{path}: process {rank} of {world_size} left nothing there: out= must be a folder that all share"
            )
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays


def _part(out: Path, rank: int) -> Path:
    return out / FOLDER / f"{rank:05d}.npz"
