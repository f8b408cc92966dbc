"""Frames that are chosen: cheap looks at a whole video say what each frame is worth, and segments are of equal worth.

Pure functions. A selector (`pv_sparse.data.selectors`) glances at a video, scores its looks, and makes weights of the
scores, one for each frame; `segment_indices(weights=...)` divides the video by them. After the wish that Wang et al.,
"Temporal Segment Networks", and Zolfaghari et al., "ECO", end with: that attention over time should choose the frames.
"""

import numpy as np
import torch
from torch import Tensor

from pv_sparse.data.segments import Packets, segment_indices

NUM_LOOKS = 64
# At most so much of a video goes by without a look, where keyframes are rare.
LONGEST_UNSEEN = 1 / 16
# Where more than so many of its looks count, a video shows its subject throughout.
THROUGHOUT = 1 / 4


def glance_indices(num_frames: int, packets: Packets, num_looks: int = NUM_LOOKS) -> Tensor:
    """Frames that cost little to look at and are spread over the whole video.

    In each of `num_looks` segments of equal length, the keyframe nearest to its middle. Where a sixteenth of the video
    has no keyframe, the first frame of that sixteenth.

    Args:
        num_frames: of the video, at least 1.
        packets: of the video.
        num_looks: at least 1.

    Returns:
        (K,) int64, ascending, each once, 1 <= K <= num_looks.

    Raises:
        ValueError: a count below 1.
    """
    keyframes = torch.as_tensor(packets.keyframes, dtype=torch.int64)
    nearest = _one_in_each(num_frames, packets, num_looks)
    looks = nearest[torch.isin(nearest, keyframes)]
    rough = _one_in_each(num_frames, packets, min(num_looks, round(1 / LONGEST_UNSEEN)))
    looks = _ascending(torch.cat([looks, rough[~torch.isin(rough, keyframes)]]))
    return looks if len(looks) <= num_looks else looks[segment_indices(len(looks), num_looks).flatten()]


def frame_weights(scores: Tensor, looks: Tensor, num_frames: int) -> np.ndarray:
    """What each frame is worth: the score of the look that is nearest in time.

    Args:
        scores: (K,), 0 or more.
        looks: (K,) ascending frame numbers, as of `glance_indices`.
        num_frames: of the video.

    Returns:
        (num_frames,) float64.
    """
    borders = (looks[:-1] + looks[1:] + 1) // 2
    nearest = torch.bucketize(torch.arange(num_frames), borders, right=True)
    return scores.double().cpu().numpy()[nearest.numpy()]


def mixed_with_even(weights: np.ndarray, even_share: float) -> np.ndarray:
    """Weights of sum 1, of which `even_share` is the same for every frame, so that context is never lost.

    Args:
        weights: (n,), 0 or more; all of them 0 is even.
        even_share: in [0, 1].

    Returns:
        (n,) float64.
    """
    total = weights.sum()
    own = weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
    return (1 - even_share) * own + even_share / len(weights)


def share_throughout(shares: Tensor) -> float:
    """How far a video shows its subject throughout, as trimmed ones do: from 0, where one look counts, to 1.

    By the number of looks that count, 1 / sum(shares^2), the inverse of Simpson's index ("Measurement of Diversity",
    Nature, 1949): 1 where more than a quarter of all do.

    Args:
        shares: (K,) of sum 1.
    """
    if len(shares) == 1:
        return 1.0
    counting = 1 / float(shares.double().square().sum())
    return min(1.0, (counting - 1) / (len(shares) - 1) / THROUGHOUT)


def novelty(features: Tensor, count: int) -> Tensor:
    """How far rows are from each other: `count` of them are taken, ever the one that is farthest from those so far.

    The first is the one nearest to the mean. Gonzalez, "Clustering to minimize the maximum intercluster distance",
    Theoretical Computer Science, 1985.

    Args:
        features: (K, D) floats.
        count: at least 1.

    Returns:
        (K,) floats, 0 or more: the distance of a row to those taken before it (of the first, to the second); 0 of those
        that are not taken. Of equally far ones the first is taken.
    """
    nearest_to_mean = int((features - features.mean(dim=0)).norm(dim=1).argmin())
    distances = _distances(features, nearest_to_mean)
    found = torch.zeros(len(features))
    found[nearest_to_mean] = distances.max()
    for _ in range(count - 1):
        row = int(distances.argmax())
        found[row] = torch.maximum(found[row], distances[row])
        distances = torch.minimum(distances, _distances(features, row))
    return found


def _one_in_each(num_frames: int, packets: Packets, num_segments: int) -> Tensor:
    return _ascending(segment_indices(num_frames, num_segments, snap="keyframe", packets=packets))


def _ascending(indices: Tensor) -> Tensor:
    """(K,), each once."""
    return torch.tensor(sorted(set(indices.flatten().tolist())))


def _distances(features: Tensor, row: int) -> Tensor:
    """(K,), those of all rows to one."""
    return (features - features[row]).norm(dim=1)
