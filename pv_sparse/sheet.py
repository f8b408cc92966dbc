"""The contact sheet: the frames that were looked at, when they stand in the video, and what they say."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from pv_sparse.drawing import ACCENT, BACKGROUND, FAINT, FAINT_INK, INK, fit, font
from pv_sparse.looking import Look
from pv_sparse.recognition import ClassScore

COLUMNS = 4
TILE_WIDTH = 240
CAPTION_HEIGHT = 42
MARGIN = 16
LINE = 22


def draw_sheet(title: str, look: Look, best_of_each: Sequence[ClassScore], best: Sequence[ClassScore]) -> Image.Image:
    """A picture of one recognition.

    Args:
        title: the heading.
        look: the frames, their numbers and times.
        best_of_each: for each frame, the class that it alone speaks for most.
        best: the best classes of all frames together.
    """
    tiles = [
        _tile(*row) for row in zip(look.frames, look.frame_indices, look.frame_times_seconds, best_of_each, strict=True)
    ]
    grid = _grid(tiles)
    parts = [_heading(title, grid.width), grid, _timeline(look, grid.width), _bars(best, grid.width)]
    sheet = Image.new("RGB", (grid.width + 2 * MARGIN, sum(part.height for part in parts) + 5 * MARGIN), BACKGROUND)
    top = MARGIN
    for part in parts:
        sheet.paste(part, (MARGIN, top))
        top += part.height + MARGIN
    return sheet


def sheet_paths(path: Path, videos: Sequence[str]) -> list[Path]:
    """One picture a video: `path` itself for a single one, else numbered: out.png -> out_01_bikes.png, ..."""
    if len(videos) == 1:
        return [path]
    digits = len(str(len(videos)))
    return [
        path.with_name(f"{path.stem}_{number:0{digits}}_{Path(video).stem}{path.suffix}")
        for number, video in enumerate(videos, start=1)
    ]


def _tile(frame: Tensor, number: int, seconds: float, best: ClassScore) -> Image.Image:
    picture = to_pil_image(frame)
    height = max(1, round(TILE_WIDTH * picture.height / picture.width))
    tile = Image.new("RGB", (TILE_WIDTH, height + CAPTION_HEIGHT), BACKGROUND)
    tile.paste(picture.resize((TILE_WIDTH, height)), (0, 0))
    draw = ImageDraw.Draw(tile)
    draw.text((2, height + 3), f"frame {number}, {seconds:.2f} s", FAINT_INK, font(13))
    draw.text((2, height + 20), fit(f"{best.score:.2f} {best.name}", TILE_WIDTH - 4, 14), INK, font(14))
    return tile


def _grid(tiles: Sequence[Image.Image]) -> Image.Image:
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    width, height = TILE_WIDTH + MARGIN, tiles[0].height + MARGIN // 2
    grid = Image.new("RGB", (COLUMNS * width - MARGIN, rows * height), BACKGROUND)
    for place, tile in enumerate(tiles):
        grid.paste(tile, (place % columns * width, place // columns * height))
    return grid


def _heading(title: str, width: int) -> Image.Image:
    heading = Image.new("RGB", (width, LINE), BACKGROUND)
    ImageDraw.Draw(heading).text((0, 0), fit(title, width, 18), INK, font(18))
    return heading


def _timeline(look: Look, width: int) -> Image.Image:
    """A bar from the first frame of the video to its last, with a mark for each frame that was looked at."""
    line = Image.new("RGB", (width, 2 * LINE), BACKGROUND)
    draw = ImageDraw.Draw(line)
    draw.rectangle((0, 6, width - 1, 12), fill=FAINT)
    last = max(1, look.num_frames - 1)
    for number in look.frame_indices:
        place = round(number / last * (width - 3))
        draw.rectangle((place, 0, place + 2, 18), fill=ACCENT)
    whole = f"{len(look.frame_indices)} of {look.num_frames} frames, {look.duration_seconds:.2f} s"
    draw.text((0, LINE), whole, FAINT_INK, font(13))
    return line


def _bars(best: Sequence[ClassScore], width: int) -> Image.Image:
    bars = Image.new("RGB", (width, LINE * (len(best) + 1)), BACKGROUND)
    draw = ImageDraw.Draw(bars)
    draw.text((0, 0), "All frames together", INK, font(15))
    for row, entry in enumerate(best, start=1):
        top = row * LINE
        draw.rectangle((0, top + 4, max(1, round(entry.score * width / 3)), top + 16), fill=ACCENT)
        draw.text(
            (width // 3 + MARGIN, top), fit(f"{entry.score:.3f}  {entry.name}", width * 2 // 3, 15), INK, font(15)
        )
    return bars
