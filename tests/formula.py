"""Weights and inputs by formula, the same bit for bit on every machine: what the golden logits were made with.

An integer hash of (name, position) gives numbers in (0, 1); a few float64 operations make weights of them, by the name
that the tensor has in the original, or a video.
"""

import zlib

import numpy as np
import torch
from torch import Tensor


def uniform(name: str, count: int) -> np.ndarray:
    """`count` float64 in (0, 1): the finaliser of MurmurHash3 over a counter that starts at the CRC of the name."""
    with np.errstate(over="ignore"):
        h = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(zlib.crc32(name.encode()))
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            h ^= h >> np.uint32(shift)
            h *= np.uint32(factor)
        h ^= h >> np.uint32(16)
    return (h.astype(np.float64) + 0.5) / 2**32


def weight(name: str, shape: torch.Size) -> Tensor:
    """The tensor called `name` in the original, of this shape."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    u = uniform(name, shape.numel())
    signed = 2 * u - 1
    if name.endswith("running_mean"):
        values = 0.2 * signed
    elif name.endswith("running_var"):
        values = 0.75 + 0.5 * u
    elif name.endswith(".bias"):
        values = 0.1 * signed
    elif len(shape) == 1:
        values = 0.5 + 0.3 * u if "layer" in name else 0.75 + 0.5 * u
    else:
        values = signed * np.sqrt(6.0 / np.prod(shape[1:]))
    return torch.from_numpy(values.reshape(shape).astype(np.float32))


def clips(tag: str, B: int, T: int, C: int, H: int, W: int) -> Tensor:
    """(B, T, C, H, W) float32: slanted triangle waves, a brightness for each frame, and noise."""
    b, t, c = np.ogrid[:B, :T, :C]
    y, x = np.arange(H)[:, None] / H, np.arange(W) / W
    rows, columns = 1 + (3 * b + 5 * t + 2 * c) % 7, 1 + (2 * b + 3 * t + c) % 5
    # One after another, as the originals add: the last bit depends on it.
    phase = rows[..., None, None] * y + columns[..., None, None] * x
    for step in (0.13 * t, 0.29 * b, 0.37 * c):
        phase = phase + step[..., None, None]
    waves = 4 * np.abs(phase - np.floor(phase) - 0.5) - 1
    brightness = 0.5 * (2 * uniform(f"{tag}:bias", B * T * C) - 1)
    noise = 0.25 * (2 * uniform(tag, waves.size) - 1)
    values = waves + brightness.reshape(B, T, C, 1, 1) + noise.reshape(waves.shape)
    return torch.from_numpy(values.astype(np.float32))
