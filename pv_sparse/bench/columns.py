"""Numbers in columns, for people."""

import math
from collections.abc import Sequence

Cell = str | int | float | None


def columns(header: Sequence[str], rows: Sequence[Sequence[Cell]], left: int = 1) -> list[str]:
    """A line each, the first `left` columns aligned at their left, the others at their right; None is "-"."""
    texts = [list(header), *([cell_text(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return ["  ".join(_aligned(line, widths, left)).rstrip() for line in texts]


def _aligned(line: Sequence[str], widths: Sequence[int], left: int) -> list[str]:
    cells = enumerate(zip(line, widths, strict=True))
    return [text.ljust(width) if number < left else text.rjust(width) for number, (text, width) in cells]


def cell_text(cell: Cell) -> str:
    if isinstance(cell, float):
        return three_digits(cell)
    return "-" if cell is None else str(cell)


def three_digits(value: float) -> str:
    """Three digits that count, without an exponent: 0.0123, 1.23, 12.3, 123, 1234."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
