"""Arguments that every source of frames takes: frame numbers, and a size."""

from collections.abc import Iterable

import numpy as np
from torch import Tensor

from pv_sparse.data.segment_plan import Size


def as_numbers(indices: Iterable[int] | Tensor | np.ndarray, num_frames: int, path: str) -> list[int]:
    """Frame numbers as a list; a tensor or array of any shape is read row by row.

    Raises:
        IndexError: a number outside [0, num_frames).
        TypeError: numbers that are not integers.
    """
    numbers = np.asarray(indices if hasattr(indices, "shape") else list(indices)).reshape(-1)
    if numbers.size and numbers.dtype.kind not in "iu":
        raise TypeError(f"frame numbers must be integers, not {numbers.dtype}")
    for number in numbers.tolist():
        if not 0 <= number < num_frames:
            raise IndexError(f"frame {number} is outside 0 to {num_frames - 1}, the frames of {path}")
    return numbers.tolist()


def target_size(height: int, width: int, size: Size | None) -> tuple[int, int]:
    """(height, width) of the frames returned; `ValueError` for a size below one pixel."""
    if size is None:
        return height, width
    if min((size,) if isinstance(size, int) else size) < 1:
        raise ValueError(f"size={size} is not allowed: give the shorter side, or (height, width), in pixels from 1 on")
    if isinstance(size, tuple):
        return size
    short = min(height, width)
    return size * height // short, size * width // short
