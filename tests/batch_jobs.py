"""What the tests of batch jobs share: small weights, videos, jobs, and readers that misbehave."""

import dataclasses
import os
import signal
import sys
from pathlib import Path

import pyarrow.parquet as pq
import torch
from index_video import write_index_video

from pv_sparse import create_tsn, get_weights, save_model
from pv_sparse.batch.clips import Clip, ClipReader

CLASSES = ("walk", "run", "jump", "sit", "stand", "fall", "wave")
PROGRAM = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("pv_sparse", run_name="__main__")
"""
INPUT = {"resize": 72, "crop": 64}


def write_weights(path: Path, **changes) -> str:
    """A tiny TSN with random tensors; `changes` are of its record."""
    torch.manual_seed(0)
    model = create_tsn(num_classes=len(CLASSES), backbone="tiny")
    torch.nn.init.normal_(model.head.fc.weight)
    arguments = {"num_classes": len(CLASSES), "backbone": "tiny"}
    record = dataclasses.replace(
        get_weights("tsn_efficientnet_lite0.in1k"),
        build={"builder": "create_tsn", "arguments": arguments},
        categories=CLASSES,
        **{"input": INPUT, **changes},
    )
    save_model(model, path, record)
    return str(path)


def write_videos(folder: Path, number: int) -> list[str]:
    """Videos of 20 frames and more, the fourth of them no video, and one that is not there."""
    paths = [folder / f"{n:02}.mp4" for n in range(number)]
    for n, path in enumerate(paths):
        if n == 3:
            path.write_text("this is no video")
        else:
            write_index_video(path, 20 + n)
    return [*map(str, paths), str(folder / "gone.mp4")]


def command(*arguments: object) -> list[str]:
    """`pv-sparse recognize`, which an interrupt reaches even where a shell runs this in the background."""
    return [sys.executable, "-W", "ignore", "-c", PROGRAM, "recognize", *map(str, arguments)]


def rows_of(folder: Path) -> list[dict]:
    return [row for path in sorted(folder.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def parts_of(folder: Path) -> dict[str, bytes]:
    """The bytes of all part files, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*"))}


class DyingReader(ClipReader):
    """Its process dies of one video: always, or the first time only, when it leaves a mark.

    Args:
        viewer: as of `ClipReader`.
        poison: the name of the video's file.
        mark: a file that tells that it died once; None is always.
    """

    def __init__(self, viewer, poison: str, mark: Path | None = None):
        super().__init__(viewer)
        self.poison, self.mark = poison, mark

    def read(self, path: str) -> Clip | str:
        if Path(path).name == self.poison and not (self.mark and self.mark.exists()):
            if self.mark:
                self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(path)
