"""The pictures of a report, without matplotlib's global state: the confusion of classes, curves over the epochs."""

import io
import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from pv_sparse.recipes.history import Row

MOST_NAMES, MOST_NUMBERS = 40, 12  # classes, beyond which nobody could read them
LONGEST_NAME = 28
COLOURS = {"train": "#777777", "val": "#2a6fb0"}
LINES = ("-", "--", ":", "-.")  # of several tasks
PANELS = {"loss": ("loss",), "accuracy": ("top1", "map")}


def plot_confusion(matrix: Tensor, classes: Sequence[str], title: str = "") -> bytes:
    """A png: the share of a true class's videos (row) that were taken for a class (column).

    Counts are written into the cells of few classes, names beside the matrix of some, neither of many. The row of a
    class without videos is grey.

    Args:
        matrix: (C, C) counts, as of `confusion_matrix`.
        classes: C names.
    """
    counts = matrix.cpu().numpy()
    of_each = counts.sum(1, keepdims=True)
    shares = np.divide(counts, of_each, out=np.full(counts.shape, np.nan), where=of_each > 0)
    side = _side(len(classes))
    figure = Figure(figsize=(side + 1.7, side), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("#dddddd")
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(title, parse_math=False)
    _write_names(axes, classes)
    if len(classes) <= MOST_NUMBERS:
        _write_counts(axes, counts, shares)
    return _png(figure)


def plot_curves(rows: Sequence[Row]) -> bytes:
    """A png: loss, accuracy and learning rate over the epochs, of training and validation, as far as the rows go."""
    names = sorted({name for row in rows for name in row})
    panels = {panel: [name for name in names if name.rpartition("/")[2] in ends] for panel, ends in PANELS.items()}
    drawn = {panel: curves for panel, curves in panels.items() if curves}
    drawn |= {"learning rate": ["lr"]} if "lr" in names else {}
    figure = Figure(figsize=(7, 0.6 + 2.4 * max(1, len(drawn))), dpi=120, layout="constrained")
    every = figure.subplots(max(1, len(drawn)), sharex=True, squeeze=False)[:, 0]
    for axes, (panel, curves) in zip(every, drawn.items(), strict=False):
        _draw(axes, rows, curves)
        axes.set_ylabel(panel)
        axes.grid(alpha=0.3)
    every[-1].set_xlabel("epoch")
    every[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return _png(figure)


def _draw(axes: Axes, rows: Sequence[Row], curves: Sequence[str]) -> None:
    """One colour for training, one for validation, and a kind of line for each task."""
    tasks = sorted({curve.partition("/")[2] for curve in curves})
    for curve in curves:
        split, _, task = curve.partition("/")
        known = [row for row in rows if curve in row]
        axes.plot(
            [row["epoch"] + 1 for row in known],
            [row[curve] for row in known],
            marker="." if len(known) <= MOST_NAMES else "",
            color=COLOURS.get(split, "black"),
            linestyle=LINES[tasks.index(task) % len(LINES)],
            label=curve.replace("/", " "),
        )
    if curves != ["lr"]:
        axes.legend(fontsize="small")


def _side(num_classes: int) -> float:
    """Inches of the matrix: room for names, or a few pixels for each of many classes."""
    return min(12.0, max(4.0, 2.5 + 0.24 * num_classes)) if num_classes <= MOST_NAMES else 9.0


def _write_names(axes: Axes, classes: Sequence[str]) -> None:
    if len(classes) > MOST_NAMES:
        axes.set_xlabel(f"predicted ({len(classes)} classes, in the order of per_class.csv)")
        axes.set(xticks=[], yticks=[])
        return
    names = [name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 3] + "..." for name in classes]
    places = range(len(names))
    axes.set_xticks(places, names, rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks(places, names, fontsize=8, parse_math=False)


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    for row, column in np.ndindex(*counts.shape):
        colour = "white" if shares[row, column] > 0.4 else "black"
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=colour, fontsize=8)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        # Class names in scripts that the font lacks are shown as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(file, format="png")
    return file.getvalue()
