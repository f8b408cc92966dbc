"""Several crops of one clip for testing, along time, view after view."""

from torch import Tensor, nn

from pv_sparse.transforms.cropping import crop_offsets
from pv_sparse.transforms.flipping import flip_clip
from pv_sparse.transforms.resizing import check_clip, check_interpolation, check_sizes, resize_clip


class TenCrop(nn.Module):
    """The corners and the centre, each as it is and then mirrored: the test of TSN and TRN.

    `GroupOverSample` of yjxiong/tsn-pytorch.

    Args:
        size: pixels of the square crops.
        resize: pixels that the shorter side is scaled to first; None leaves it.
        interpolation: `bilinear` or `bicubic`, with antialiasing, as PIL.
        invert_flow: whether optical flow, known by its 2 channels, is mirrored with 255 - x; mmaction2's is not.
    """

    num_views = 10

    def __init__(
        self,
        size: int = 224,
        resize: int | None = 256,
        interpolation: str = "bilinear",
        invert_flow: bool = True,
    ):
        super().__init__()
        self.size, self.invert_flow = size, invert_flow
        self.resize = _check_resize(size, resize)
        self.interpolation = check_interpolation(interpolation)

    def forward(self, clip: Tensor) -> Tensor:
        """(C, T, H, W), uint8 or float -> (C, 10*T, size, size), view after view, of the same dtype.

        A `SegmentNet` whose head averages (TSN) takes that as so many segments; for others, `fold_views` makes a batch.

        Raises:
            ValueError: another shape, or frames smaller than the crops.
        """
        frames = _scaled(clip, "TenCrop", self.resize, self.size, self.interpolation)
        channels, num_frames, height, width = frames.shape
        views = frames.new_empty(channels, 5, 2, num_frames, self.size, self.size)
        for number, (x, y) in enumerate(crop_offsets(width, height, self.size, self.size, num_positions=5)):
            views[:, number, 0] = frames[..., y : y + self.size, x : x + self.size]
            plain = views[:, number, 0]
            views[:, number, 1] = flip_clip(plain) if self.invert_flow else plain.flip(-1)
        return views.flatten(1, 3)

    def extra_repr(self) -> str:
        return f"{self.size}, resize={self.resize}"


class ThreeCrop(nn.Module):
    """Left, right and middle (top, bottom and middle of upright frames): the test of mmaction2.

    Its `Resize` rounds the longer side where this cuts it off, as TSN's code does: a pixel in some sizes.

    Args:
        size: pixels of the square crops.
        resize: pixels that the shorter side is scaled to first; None leaves it.
        interpolation: `bilinear` or `bicubic`, with antialiasing, as PIL.
    """

    num_views = 3

    def __init__(self, size: int = 256, resize: int | None = 256, interpolation: str = "bilinear"):
        super().__init__()
        self.size = size
        self.resize = _check_resize(size, resize)
        self.interpolation = check_interpolation(interpolation)

    def forward(self, clip: Tensor) -> Tensor:
        """(C, T, H, W), uint8 or float -> (C, 3*T, size, size), view after view, of the same dtype.

        Raises:
            ValueError: another shape, or frames smaller than the crops.
        """
        frames = _scaled(clip, "ThreeCrop", self.resize, self.size, self.interpolation)
        channels, num_frames, height, width = frames.shape
        views = frames.new_empty(channels, 3, num_frames, self.size, self.size)
        for number, (x, y) in enumerate(_thirds(width, height, self.size)):
            views[:, number] = frames[..., y : y + self.size, x : x + self.size]
        return views.flatten(1, 2)

    def extra_repr(self) -> str:
        return f"{self.size}, resize={self.resize}"


def fold_views(video: Tensor, num_views: int) -> Tensor:
    """(N, C, V*T, H, W), view after view -> (N*V, C, T, H, W): for models that take a fixed number of frames.

    Average the model's logits over the views with `logits.unflatten(0, (-1, num_views)).mean(dim=1)`.

    Raises:
        ValueError: another shape, or frames that do not make so many views.
    """
    if video.ndim != 5 or num_views < 1 or video.shape[2] % num_views:
        raise ValueError(
            f"a video of shape {tuple(video.shape)} was given for num_views={num_views}; "
            "fold_views takes (N, C, T, H, W) with T a multiple of num_views"
        )
    n, c, num_frames, h, w = video.shape
    views = video.reshape(n, c, num_views, num_frames // num_views, h, w)  # (N, C, V, T, H, W)
    return views.transpose(1, 2).flatten(0, 1)


def _thirds(width: int, height: int, size: int) -> list[tuple[int, int]]:
    """The (x, y) of each crop, in whole steps of half the room."""
    step_x, step_y = (width - size) // 2, (height - size) // 2
    if height > width:
        return [(step_x, y) for y in (0, 2 * step_y, step_y)]
    return [(x, step_y) for x in (0, 2 * step_x, step_x)]


def _check_resize(size: int, resize: int | None) -> int | None:
    check_sizes(size=size)
    if resize is not None and resize < size:
        raise ValueError(f"size={size} is larger than resize={resize}: crop at most what is there")
    return resize


def _scaled(clip: Tensor, taker: str, resize: int | None, size: int, interpolation: str) -> Tensor:
    check_clip(clip, taker)
    frames = clip if resize is None else resize_clip(clip, [resize], interpolation)
    if min(frames.shape[2:]) < size:
        raise ValueError(
            f"frames of {clip.shape[3]}x{clip.shape[2]} pixels were given; {taker} cuts squares of {size}: "
            f"give resize={size} or more, which scales them first"
        )
    return frames
