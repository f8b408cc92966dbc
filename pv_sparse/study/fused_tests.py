"""Tests of several models brought together: ECO's ensemble of frame counts, and the modalities."""

from collections.abc import Sequence
from pathlib import Path

from pv_sparse.recipes.fusing import fuse
from pv_sparse.study.testing import Figures


def fuse_tests(scores: Sequence[Path], tested: Sequence[Figures], by: str) -> Figures:
    """The mean of what the members say of each video.

    Args:
        scores: the members' score files, of the same videos.
        tested: their figures.
        by: `scores` or `logits`.

    Returns:
        Its CPU seconds are those of all members; that of the mean itself is nothing beside them.

    Raises:
        PvSparseError: videos or labels that differ.
    """
    fused = fuse(scores, on=by)
    return Figures(
        top1=fused.metrics()["top1"],
        cpu_seconds=sum(own.cpu_seconds for own in tested),
        decode_cpu_seconds=sum(own.decode_cpu_seconds for own in tested),
        num_videos=len(fused.paths),
    )
