"""Whole generated data sets, made in several processes."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from pv_sparse.parallel import for_each
from pv_sparse.study.generated import APPEARANCE20, ORDER20, UNTRIMMED_APPEARANCE, UNTRIMMED_ORDER, Scene, scenes_of

DATA_SETS = {
    "order20": ORDER20,
    "appearance20": APPEARANCE20,
    "untrimmed_appearance": UNTRIMMED_APPEARANCE,
    "untrimmed_order": UNTRIMMED_ORDER,
}


def make(
    name: str,
    root: str | os.PathLike[str],
    jobs: int = 1,
    seed: int = 0,
    splits: Mapping[str, int] | None = None,
    frames: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Make what is missing of a data set: root/train/<class>/*.mp4 and root/val/<class>/*.mp4, as `data=folder` reads.

    Args:
        name: one of `DATA_SETS`.
        root: folder of the data.
        jobs: how many processes.
        seed: of all draws.
        splits: number of videos by split; None takes the data set's own.
        frames: decode the videos to `.npy` files of 64 pixels too.
        progress: called with the number of scenes that are done, and of all, after each.

    Raises:
        ValueError: an unknown name, or a number of videos that the data set does not allow.
        OSError: a file cannot be written.
    """
    if name not in DATA_SETS:
        raise ValueError(f"name={name!r} is unknown: choose one of {', '.join(DATA_SETS)}")
    data = DATA_SETS[name]
    counts = data.num_videos if splits is None else splits
    scenes = [scene for split, count in counts.items() for scene in scenes_of(data, Path(root), split, count, seed)]
    for done, (_, failure) in enumerate(for_each(partial(Scene.make, frames=frames), scenes, jobs), 1):
        if failure is not None:
            raise failure
        if progress is not None:
            progress(done, len(scenes))
