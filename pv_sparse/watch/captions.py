"""The time and the best classes, drawn into a frame."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from pv_sparse.drawing import ACCENT, fit, font
from pv_sparse.recognition import ClassScore

SHADE, LIGHT = (0, 0, 0, 150), "#ffffff"
LEAST_LETTERS, ROWS_OF_A_FRAME = 9, 22


def draw_caption(picture: Image.Image, seconds: float, classes: Sequence[ClassScore]) -> None:
    """Into an RGB picture: the time above, and below a bar for each class, as many as half of it holds."""
    letters = max(LEAST_LETTERS, picture.height // ROWS_OF_A_FRAME)
    line = round(letters * 1.4)
    _draw_time(picture, seconds, letters, line)
    rows = min(len(classes), max(1, picture.height // 2 // line))
    if rows:
        _draw_classes(picture, classes[:rows], letters, line)


def _draw_time(picture: Image.Image, seconds: float, letters: int, line: int) -> None:
    minutes, rest = divmod(seconds, 60)
    text = f"{int(minutes)}:{rest:05.2f}"
    width = round(font(letters).getlength(text)) + letters
    draw = ImageDraw.Draw(picture, "RGBA")
    draw.rectangle((0, 0, width, line), fill=SHADE)
    draw.text((letters // 2, 0), text, LIGHT, font(letters))


def _draw_classes(picture: Image.Image, classes: Sequence[ClassScore], letters: int, line: int) -> None:
    draw = ImageDraw.Draw(picture, "RGBA")
    top = picture.height - len(classes) * line
    draw.rectangle((0, top, picture.width, picture.height), fill=SHADE)
    for row, entry in enumerate(classes):
        y = top + row * line
        score = entry.score if math.isfinite(entry.score) else 0.0
        if score > 0:
            draw.rectangle((0, y + 1, round(score * picture.width), y + line - 2), fill=ACCENT)
        text = fit(f"{entry.score:.2f} {entry}", picture.width - letters, letters)
        draw.text((letters // 2, y), text, LIGHT, font(letters))
