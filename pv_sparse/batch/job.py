"""What a batch job is: which videos, which weights, and the options that decide its results."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pv_sparse.data.video_files import LIST_SUFFIXES
from pv_sparse.versions import versions
from pv_sparse.zoo.files import require
from pv_sparse.zoo.weights import Weights

FORMAT = 1
NOT_COMPARED = frozenset({"asked", "versions"})


@dataclass(frozen=True)
class Job:
    """The same job gives the same files, but for rounding, whatever machine, engine and batches it is done with.

    Attributes:
        videos: paths, each once; the files hold them in this order.
        weights: of the model.
        top_k: classes of each task that are written.
        all_views: all frames and crops of the published test.
        features: write features in place of classes.
        precision: of `pv_sparse.optimize`; None runs the model as it is, unless it is compiled.
        shard_size: videos a file.
        select: where to look, as `Viewer` takes it by name; None is where the weights were published to.
        asked: `hash_of_arguments` of what the list was made from.
    """

    videos: list[str]
    weights: Weights
    top_k: int = 5
    all_views: bool = False
    features: bool = False
    precision: str | None = None
    shard_size: int = 1000
    select: str | None = None
    asked: str = ""

    @property
    def num_shards(self) -> int:
        return -(-len(self.videos) // self.shard_size)

    def shard_of(self, number: int) -> int:
        """The file that a video, by its number in the list, belongs to."""
        return number // self.shard_size

    def numbers_of(self, shard: int) -> range:
        """The videos of a file."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, len(self.videos)))

    def record(self) -> dict[str, Any]:
        """Plain values to know the job by again; `versions` are those it began with."""
        return {
            "format": FORMAT,
            "weights": self.weights.name,
            "weights_sha256": _hash_of_weights(self.weights),
            "features": self.features,
            "top_k": None if self.features else self.top_k,
            "all_views": self.all_views,
            "precision": self.precision,
            "shard_size": self.shard_size,
            "select": self.select,
            "asked": self.asked,
            "num_videos": len(self.videos),
            "videos_sha256": _hash_of_list(self.videos),
            "versions": versions(),
        }


@dataclass(frozen=True)
class Chunk:
    """Videos that go through the model together: their numbers in the list, ascending, and their paths."""

    numbers: list[int]
    paths: list[str]


def chunks(job: Job, batch_size: int, is_done: Callable[[int], bool]) -> Iterator[Chunk]:
    """The videos that are not done, up to `batch_size` at a time.

    Places in the list decide what goes together, not time, so that a job that was broken off gives the same numbers,
    to the last bit, as one that was not. A chunk lies within one file.
    """
    for shard in range(job.num_shards):
        whole = job.numbers_of(shard)
        for start in range(whole.start, whole.stop, batch_size):
            numbers = [n for n in range(start, min(start + batch_size, whole.stop)) if not is_done(n)]
            if numbers:
                yield Chunk(numbers, [job.videos[number] for number in numbers])


def difference(there: dict[str, Any], here: dict[str, Any]) -> str | None:
    """What makes two records two jobs, for people; None where nothing does."""
    if there.get("num_videos") != here["num_videos"]:
        return f"{there.get('num_videos')} videos there, {here['num_videos']} now: a job's list is fixed"
    if there.get("videos_sha256") != here["videos_sha256"]:
        return f"another list of {here['num_videos']} videos, or another order: a job's list is fixed"
    changed = [name for name in here if name not in NOT_COMPARED and there.get(name) != here[name]]
    return f"{changed[0]} is {there.get(changed[0])} there, {here[changed[0]]} now" if changed else None


def hash_of_arguments(arguments: Iterable[str]) -> str:
    """Of what a user named: paths of videos and folders, and what stands in lists. What is there now has no part."""
    digest = hashlib.sha256(os.fsencode(Path.cwd()))
    for argument in arguments:
        digest.update(b"\0" + os.fsencode(argument) + b"\0")
        if Path(argument).suffix.lower() in LIST_SUFFIXES and Path(argument).is_file():
            digest.update(Path(argument).read_bytes())
    return digest.hexdigest()


def _hash_of_list(videos: list[str]) -> str:
    digest = hashlib.sha256()
    for path in videos:
        digest.update(os.fsencode(path) + b"\0")
    return digest.hexdigest()


def _hash_of_weights(weights: Weights) -> str:
    """A file may be another one under its old name, after more training."""
    with require(weights.file, weights.name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
