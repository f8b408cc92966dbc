"""The training crop of TSN's lineage: few sizes, few places, two sides that may differ."""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from pv_sparse.transforms.resizing import check_clip, check_interpolation, check_sizes, resize_clip

# Corner to corner in quarters of the room that a crop leaves, (x, y): the corners and the centre; the middles of the
# sides; the quarter points.
POSITIONS = (
    *((0, 0), (4, 0), (0, 4), (4, 4), (2, 2)),
    *((0, 2), (4, 2), (2, 4), (2, 0)),
    *((1, 1), (3, 1), (1, 3), (3, 3)),
)
SNAP_PIXELS = 3


class MultiScaleCrop(nn.Module):
    """Cut one of a few sizes at one of a few places, the same for the whole clip, and scale it to a square.

    `GroupMultiScaleCrop` of yjxiong/tsn-pytorch, to the pixel, with one draw where it makes two, of the same chances.
    It cuts first, so that only what is kept is scaled. What differs: a crop is never larger than the frame, which the
    original filled up with black when it snapped to `size` there.

    Args:
        size: pixels of the sides of what comes out.
        scales: of the crop's sides, as parts of the frame's shorter side, in order of size, each above 0 and at most 1.
            The originals leave the last out for flow and RGB difference.
        max_distort: how many steps in `scales` the two sides may be apart: 0 gives squares only.
        num_positions: 13, or 5, the corners and the centre (mmaction2's default).
        interpolation: `bilinear` or `bicubic`, with antialiasing, as PIL.
    """

    def __init__(
        self,
        size: int = 224,
        scales: Sequence[float] = (1, 0.875, 0.75, 0.66),
        max_distort: int = 1,
        num_positions: int = 13,
        interpolation: str = "bilinear",
    ):
        super().__init__()
        check_sizes(size=size)
        if not scales or min(scales) <= 0 or max(scales) > 1:
            raise ValueError(f"scales={scales} is not allowed: each must be above 0 and at most 1")
        if max_distort < 0:
            raise ValueError(f"max_distort={max_distort} is not allowed: it must be at least 0")
        _check_positions(num_positions)
        self.size = size
        self.scales = tuple(scales)
        self.max_distort = max_distort
        self.num_positions = num_positions
        self.interpolation = check_interpolation(interpolation)

    def forward(self, clip: Tensor) -> Tensor:
        """(C, T, H, W), uint8 or float -> (C, T, size, size), of the same dtype; `ValueError` for another shape."""
        check_clip(clip, "MultiScaleCrop")
        x, y, width, height = self.draw(clip.shape[3], clip.shape[2])
        crop = clip[:, :, y : y + height, x : x + width]
        return resize_clip(crop, [self.size, self.size], self.interpolation)

    def draw(self, width: int, height: int) -> tuple[int, int, int, int]:
        """(x, y, width, height) of a crop of a frame of this size, in pixels; one draw of torch's global generator."""
        pairs = crop_pairs(width, height, self.size, self.scales, self.max_distort)
        drawn = int(torch.randint(len(pairs) * self.num_positions, ()))
        pair, position = divmod(drawn, self.num_positions)
        return *crop_offsets(width, height, *pairs[pair], self.num_positions)[position], *pairs[pair]

    def extra_repr(self) -> str:
        """One line on what is drawn, for people."""
        return f"{self.size}, scales={self.scales}, max_distort={self.max_distort}, num_positions={self.num_positions}"


def crop_pairs(
    width: int,
    height: int,
    size: int = 224,
    scales: Sequence[float] = (1, 0.875, 0.75, 0.66),
    max_distort: int = 1,
) -> list[tuple[int, int]]:
    """The (width, height) of each crop that `MultiScaleCrop` may cut from a frame of `width` x `height` pixels.

    A side is `int(shorter side * scale)`, or `size` where it is less than 3 pixels from it and the frame has as many.
    """
    shorter = min(width, height)
    sides = [max(1, int(shorter * scale)) for scale in scales]
    sides = [size if abs(side - size) < SNAP_PIXELS and size <= shorter else side for side in sides]
    return [(sides[w], sides[h]) for h, w in product(range(len(sides)), repeat=2) if abs(h - w) <= max_distort]


def crop_offsets(
    width: int, height: int, crop_width: int, crop_height: int, num_positions: int = 13
) -> list[tuple[int, int]]:
    """The (x, y) of the upper left corner of each place of a crop in a frame of `width` x `height` pixels.

    The places lie in whole steps of a quarter of the room, so that up to 3 pixels on the right and below are never
    reached, as in the originals.
    """
    _check_positions(num_positions)
    step_x, step_y = (width - crop_width) // 4, (height - crop_height) // 4
    return [(x * step_x, y * step_y) for x, y in POSITIONS[:num_positions]]


def _check_positions(num_positions: int) -> None:
    if num_positions not in (5, 13):
        raise ValueError(f"num_positions={num_positions} is not allowed: choose 5 or 13")
