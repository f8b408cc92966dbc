"""The contact sheet: the frames that were looked at, when they stand in the video, and what they say."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps
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
MARK = 3
CURVE_HEIGHT = 44
CURVE_FILL = "#cfe0f1"
TRACK = "#eeeeee"


def draw_sheet(
    title: str,
    look: Look,
    best_of_each: Sequence[ClassScore],
    best: Sequence[ClassScore],
    select: str | None = None,
) -> Image.Image:
    """A picture of one recognition.

    Above the timeline stands what each frame was worth to a selector, where the look has that; below it, when each
    class was seen, where the classes have that.

    Args:
        title: the heading.
        look: the frames, their numbers and times.
        best_of_each: for each frame, the class that it alone speaks for most.
        best: the best classes of all frames together, or those of `pv_sparse.spotting.spot`.
        select: the selector's name, for the caption of its curve.
    """
    tiles = [
        _tile(*row) for row in zip(look.frames, look.frame_indices, look.frame_times_seconds, best_of_each, strict=True)
    ]
    grid = _grid(tiles)
    if any(entry.when for entry in best):
        parts = [_timeline_of_moments(look, grid.width), _spans(best, look.duration_seconds, grid.width)]
    else:
        parts = [_timeline(look, grid.width, select), _bars(best, grid.width)]
    return ImageOps.expand(_stack([_heading(title, grid.width), grid, *parts], MARGIN), MARGIN, BACKGROUND)


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


def _timeline(look: Look, width: int, select: str | None) -> Image.Image:
    """A bar from the first frame of the video to its last, with a mark for each frame that was looked at."""
    last = max(1, look.num_frames - 1)
    text = f"{len(look.frame_indices)} of {look.num_frames} frames, {look.duration_seconds:.2f} s"
    line = _marked_line([number / last for number in look.frame_indices], text, width)
    return line if look.frame_weights is None else _stack([_curve(look.frame_weights, width, select), line])


def _timeline_of_moments(look: Look, width: int) -> Image.Image:
    """A bar from the start of the video to its end, in seconds, as the spans below it are."""
    places = [_share(seconds, look.duration_seconds) for seconds in look.frame_times_seconds]
    text = f"The best moments: {len(places)} of {look.num_frames} frames, {look.duration_seconds:.2f} s"
    return _marked_line(places, text, width)


def _marked_line(places: Iterable[float], text: str, width: int) -> Image.Image:
    """Places are in [0, 1]."""
    line = Image.new("RGB", (width, 2 * LINE), BACKGROUND)
    draw = ImageDraw.Draw(line)
    draw.rectangle((0, 6, width - 1, 12), fill=FAINT)
    for share in places:
        place = round(share * (width - MARK))
        draw.rectangle((place, 0, place + MARK - 1, 18), fill=ACCENT)
    draw.text((0, LINE), text, FAINT_INK, font(13))
    return line


def _curve(weights: np.ndarray, width: int, select: str | None) -> Image.Image:
    """What each frame is worth, by the highest; of frames that share a column of pixels, the best is drawn."""
    starts = (np.arange(width) - MARK / 2) / (width - MARK) * max(1, len(weights) - 1)
    frames = np.rint(starts).clip(0, len(weights) - 1).astype(int)
    heights = np.maximum.reduceat(weights, frames) / (weights.max() or 1)
    curve = Image.new("RGB", (width, LINE + CURVE_HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(curve)
    draw.text((0, 0), f"What {select or 'the selector'} thinks of each moment", FAINT_INK, font(13))
    floor = curve.height - 4
    tops = [floor - round(height * (floor - LINE)) for height in heights.tolist()]
    for place, (before, top) in enumerate(pairwise([tops[0], *tops])):
        draw.line((place, top, place, floor), fill=CURVE_FILL)
        draw.line((place, before, place, top), fill=ACCENT)
    return curve


def _spans(best: Sequence[ClassScore], duration: float, width: int) -> Image.Image:
    """A row for each class: its highest score, its name, its times, and under them the times as bars."""
    rows = Image.new("RGB", (width, LINE + len(best) * 2 * LINE), BACKGROUND)
    draw = ImageDraw.Draw(rows)
    draw.text((0, 0), "When each was seen", INK, font(15))
    for row, entry in enumerate(best):
        top = LINE + row * 2 * LINE + 6
        times = ", ".join(f"{span.start_seconds:.1f}-{span.end_seconds:.1f} s" for span in entry.when or ())
        name = fit(f"{entry.score:.3f}  {entry}", width // 2, 15)
        draw.text((0, top), name, INK, font(15))
        draw.text((width - 1, top + 1), fit(times, width // 2 - MARGIN, 13), FAINT_INK, font(13), anchor="ra")
        draw.rectangle((0, top + 24, width - 1, top + 29), fill=TRACK)
        for span in entry.when or ():
            left, right = (round(_share(end, duration) * width) for end in (span.start_seconds, span.end_seconds))
            draw.rectangle((left, top + 24, max(left, right - 1), top + 29), fill=ACCENT)
    return rows


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


def _stack(parts: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Parts of one width, from top to bottom."""
    height = sum(part.height for part in parts) + gap * (len(parts) - 1)
    whole = Image.new("RGB", (parts[0].width, height), BACKGROUND)
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height + gap
    return whole


def _share(seconds: float, duration: float) -> float:
    return min(seconds / duration, 1.0) if duration > 0 else 0.0
