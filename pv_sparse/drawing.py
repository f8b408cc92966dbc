"""What every picture of results shares: its colours, its letters, and texts that fit."""

import functools

from PIL import ImageFont

BACKGROUND, INK, FAINT_INK, FAINT, ACCENT = "white", "#222222", "#777777", "#bbbbbb", "#2a6fb0"


def fit(text: str, width: int, size: int) -> str:
    """The text, shortened until letters of `size` pixels take at most `width` of them."""
    if font(size).getlength(text) <= width:
        return text
    while text and font(size).getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own, so that no font file is needed."""
    return ImageFont.load_default(size)
