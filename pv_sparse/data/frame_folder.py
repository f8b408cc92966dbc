"""Videos as folders of pictures, as TSN, TRN, TSM and mmaction2 read them; without OpenCV."""

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np
import torch
from iopath.common.file_io import g_pathmgr
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from pv_sparse.data.closing import Closing
from pv_sparse.data.numbers import as_numbers, target_size
from pv_sparse.data.segment_plan import Size
from pv_sparse.data.segments import Packets
from pv_sparse.errors import VideoDecodeError

NUMBERED_PICTURE = re.compile(r"(?P<prefix>.*?)(?P<number>\d+)\.(jpe?g|png|bmp|webp)", re.IGNORECASE)
FLOW_PREFIXES = (("flow_x_", "flow_y_"), ("x_", "y_"), ("flow_x", "flow_y"))
MODALITIES = ("rgb", "flow")


class FrameFolder(Closing):
    """A folder of numbered pictures, read like a `SparseVideo`.

    RGB: `img_00001.jpg` and so on, under any one name before the number, counted from any number, without gaps. Flow:
    `flow_x_00001.jpg` and `flow_y_00001.jpg` (or `x_`, `y_`), grey.

    Attributes:
        path: the folder, as it was given.
        num_frames: pictures, or pairs of them.
        frame_times_seconds: (num_frames,) float64, by `average_rate`.
        duration_seconds: num_frames / average_rate, a Fraction.
        average_rate: frames per second, as given.
        keyframes: every frame: each picture opens alone.
        packets: the keyframes, and no sizes.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        modality: str = "rgb",
        prefixes: Sequence[str] | None = None,
        rate: float | Fraction = 25,
    ):
        """Find the pictures; none is opened.

        Args:
            path: the folder.
            modality: `rgb` or `flow`.
            prefixes: what stands before the number: one name for rgb, that of x and that of y for flow; None finds it.
            rate: frames per second: pictures carry no times.

        Raises:
            FileNotFoundError: there is no such folder.
            VideoDecodeError: no such pictures in it, several kinds of them, or one missing in between.
            ValueError: an unknown modality.
        """
        if modality not in MODALITIES:
            raise ValueError(f"modality={modality!r} is unknown: choose one of {', '.join(MODALITIES)}")
        self.path, self.modality = os.fspath(path), modality
        found = _numbered_pictures(self.path)
        chosen = list(prefixes) if prefixes is not None else self._find_prefixes(found)
        pictures = [self._in_order(prefix, found.get(prefix, {})) for prefix in chosen]
        if len({len(files) for files in pictures}) > 1:
            counts = ", ".join(f"{len(files)} {prefix}" for prefix, files in zip(chosen, pictures, strict=True))
            raise VideoDecodeError(self.path, f"flow needs as many pictures of x as of y, and there are {counts}")
        self._set_frames(pictures, rate)

    @classmethod
    def from_pictures(cls, pictures: Sequence[str], name: str, rate: float | Fraction = 25) -> Self:
        """RGB frames from these files (iopath opens them), in this order; `name` stands for the folder in errors."""
        if not pictures:
            raise VideoDecodeError(name, "no pictures are listed for it")
        folder = cls.__new__(cls)
        folder.path, folder.modality = name, "rgb"
        folder._set_frames([list(pictures)], rate)
        return folder

    def _set_frames(self, pictures: list[list[str]], rate: float | Fraction) -> None:
        """`pictures`: a list of files for each group of channels, RGB, or x and y."""
        self._pictures = pictures
        self.num_frames = len(self._pictures[0])
        self.average_rate = Fraction(rate)
        self.duration_seconds = self.num_frames / self.average_rate
        self.frame_times_seconds = torch.arange(self.num_frames, dtype=torch.float64) / float(rate)
        self.keyframes = list(range(self.num_frames))
        self.packets = Packets(keyframes=self.keyframes)

    def frames_at(self, indices: Iterable[int] | Tensor | np.ndarray, size: Size | None = None) -> Tensor:
        """The frames with these numbers, 0-based, in any order, repeats allowed.

        Args:
            indices: T frame numbers in [0, num_frames).
            size: as in `SparseVideo.frames_at`, scaled with antialiasing. A picture of another size than the first of
                the folder is scaled to it.

        Returns:
            (T, 3, height, width) uint8 RGB, or (T, 2, height, width) uint8, x and y.

        Raises:
            IndexError: a number outside [0, num_frames).
            VideoDecodeError: a picture that cannot be read.
        """
        numbers = as_numbers(indices, self.num_frames, self.path)
        shape = target_size(*self._shape(), size)
        frames = {number: self._frame(number, shape) for number in sorted(set(numbers))}
        if not numbers:
            return torch.empty((0, 3 if self.modality == "rgb" else 2, *shape), dtype=torch.uint8)
        return torch.stack([frames[number] for number in numbers])

    def frames_between(self, start_seconds: float | Fraction, end_seconds: float | Fraction) -> range:
        """The numbers of the frames that start in [start_seconds, end_seconds)."""
        bounds = (math.ceil(seconds * self.average_rate) for seconds in (start_seconds, end_seconds))
        return range(*(min(max(bound, 0), self.num_frames) for bound in bounds))

    def close(self) -> None:
        """Nothing is open between reads."""

    def __repr__(self) -> str:
        return f"FrameFolder({self.path!r}, modality={self.modality!r}, num_frames={self.num_frames})"

    def _find_prefixes(self, pictures: dict[str, dict[int, str]]) -> Sequence[str]:
        flow = {prefix for pair in FLOW_PREFIXES for prefix in pair}
        found = sorted(set(pictures) - flow)
        if self.modality == "flow":
            pairs = [pair for pair in FLOW_PREFIXES if set(pair) & set(pictures)]
            if pairs:
                return pairs[0]
            raise VideoDecodeError(
                self.path, "no flow in the folder: pictures named flow_x_00001.jpg, flow_y_00001.jpg"
            )
        if not found:
            raise VideoDecodeError(self.path, "no pictures in the folder: they are named like img_00001.jpg")
        if len(found) > 1:
            told = ", ".join(map(repr, found))
            raise VideoDecodeError(self.path, f"pictures of several kinds, {told}: choose with prefixes=")
        return found

    def _in_order(self, prefix: str, names: dict[int, str]) -> list[str]:
        """The files of these numbered names."""
        if not names:
            raise VideoDecodeError(self.path, f"no pictures named {prefix}00001.jpg and so on")
        first = min(names)
        missing = next((n for n in range(first, first + len(names)) if n not in names), None)
        if missing is not None:
            raise VideoDecodeError(self.path, f"the picture {prefix}{missing} is missing", frame=missing - first)
        return [str(Path(self.path) / names[number]) for number in sorted(names)]

    def _shape(self) -> tuple[int, int]:
        file = self._pictures[0][0]
        try:
            with g_pathmgr.open(file, "rb") as stream, Image.open(stream) as picture:
                return picture.height, picture.width
        except (UnidentifiedImageError, OSError) as error:
            raise VideoDecodeError(self.path, f"{Path(file).name} is not a picture ({error})", frame=0) from error

    def _frame(self, number: int, shape: tuple[int, int]) -> Tensor:
        planes = [self._picture(files[number], number) for files in self._pictures]
        return torch.cat([p if p.shape[1:] == shape else F.resize(p, list(shape), antialias=True) for p in planes])

    def _picture(self, file: str, number: int) -> Tensor:
        """(3 or 1, height, width) uint8."""
        try:
            with g_pathmgr.open(file, "rb") as stream, Image.open(stream) as picture:
                pixels = np.array(picture.convert("RGB" if self.modality == "rgb" else "L"))
        except (OSError, SyntaxError, ValueError) as error:  # Pillow raises all of them for broken pictures.
            told = f"{Path(file).name} cannot be read ({str(error) or type(error).__name__})"
            raise VideoDecodeError(self.path, told, frame=number) from error
        return torch.from_numpy(pixels).reshape(*pixels.shape[:2], -1).permute(2, 0, 1).contiguous()


def _numbered_pictures(path: str) -> dict[str, dict[int, str]]:
    """By what stands before the number, and by number: the names of a folder's pictures."""
    if not Path(path).is_dir():
        raise FileNotFoundError(f"{path}: no such folder")
    found: dict[str, dict[int, str]] = defaultdict(dict)
    for file in Path(path).iterdir():
        match = NUMBERED_PICTURE.fullmatch(file.name)
        if match:
            found[match["prefix"]][int(match["number"])] = file.name
    return found
