"""The plots of the study's report: SVG that takes colours and letters of the page, and is the same each time."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pv_sparse.study.report_cells import Measured, have_deviations

# Colours that stand for variables of the page's style sheet, and are replaced by them.
INK, FAINT, GRID = "#000001", "#000002", "#000003"
SERIES = ("#000004", "#000005", "#000006", "#000007", "#000008", "#000009")
VARIABLES = {INK: "--ink", FAINT: "--faint", GRID: "--line"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES, start=1)
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # so that colour alone tells nothing
WIDTH = 7.2
LEAST_RANGE = 0.1  # of accuracies
ROW_HEIGHT, MARK_HEIGHT = 0.2, 0.08  # inches of a label, and of each series in it
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


@dataclass(frozen=True)
class Panel:
    """One of the plots that stand side by side.

    Attributes:
        title: above it.
        series: by name in the legend, the cells by label or place.
        ceiling: an accuracy that is marked by a line, if any.
    """

    title: str
    series: Mapping[str, Mapping[str, Measured]]
    ceiling: float | None = None


def plot_dots(panels: Sequence[Panel], name: str) -> str:
    """Accuracies with error bars, a row a label: svg.

    Args:
        panels: side by side; they share their labels.
        name: of the plot, for the ids in the svg: other plots of the page have others.
    """
    labels = list(dict.fromkeys(label for panel in panels for cells in panel.series.values() for label in cells))
    row_height = ROW_HEIGHT + MARK_HEIGHT * max(len(panel.series) for panel in panels)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.2 + row_height * len(labels)), layout="constrained")
        every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, panel in zip(every, panels, strict=True):
            _draw_dots(axes, panel, labels)
        every[0].set_yticks(range(len(labels)), labels, parse_math=False)
        every[0].set_ylim(len(labels) - 0.5, -0.5)
        _legend(figure, every[0])
        return _svg(figure, name)


def plot_lines(panel: Panel, name: str, xlabel: str) -> str:
    """Accuracies with error bars over a number, on a scale of powers of two, a line a series: svg.

    Args:
        panel: its labels are numbers.
        name: as of `plot_dots`.
        xlabel: what the numbers are.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for number, (label, cells) in enumerate(panel.series.items()):
            _draw_series(axes, number, label, [float(place) for place in cells], list(cells.values()), "-")
        places = sorted({int(place) for cells in panel.series.values() for place in cells})
        axes.set_xscale("log", base=2)
        axes.set_xticks(places, [str(place) for place in places])
        axes.minorticks_off()
        _finish_accuracy_over(axes, panel, xlabel)
        _legend(figure, axes, columns=3)
        return _svg(figure, name)


def plot_costs(
    panels: Sequence[Panel],
    name: str,
    cost: str = "decode_ms",
    xlabel: str = "CPU ms to decode a video",
    line: str = "",
) -> str:
    """Accuracies with error bars over what a video costs: svg.

    Args:
        panels: two in a row.
        name: as of `plot_dots`.
        cost: a field of `Measured`.
        xlabel: what it is.
        line: that joins the marks of a series, as matplotlib names it; empty for none.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    labels = list(dict.fromkeys(label for panel in panels for label in panel.series))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.9 + 2.7 * rows), layout="constrained")
        every = figure.subplots(rows, columns, sharex=True, squeeze=False).flat
        for place, (axes, panel) in enumerate(zip(every, panels, strict=False)):
            for label, cells in panel.series.items():
                places = [getattr(cell, cost) for cell in cells.values()]
                _draw_series(axes, labels.index(label), label, places, list(cells.values()), line)
            is_lowest, is_first = place >= len(panels) - columns, place % columns == 0
            _finish_accuracy_over(axes, panel, xlabel if is_lowest else "")
            axes.set(xlim=(0, None), ylim=_range(panel), ylabel="top-1" if is_first else "")
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        _legend(figure, every[0], columns=3)
        return _svg(figure, name)


def _draw_dots(axes: Axes, panel: Panel, labels: Sequence[str]) -> None:
    for number, (name, cells) in enumerate(panel.series.items()):
        aside = 0.18 * (number - (len(panel.series) - 1) / 2)
        axes.errorbar(
            [cell.mean for cell in cells.values()],
            [labels.index(label) + aside for label in cells],
            xerr=_bars(list(cells.values())),
            **_look(number),
            label=name,
            linestyle="",
        )
    if panel.ceiling is not None:
        axes.axvline(panel.ceiling, color=FAINT, linestyle=(0, (4, 3)), linewidth=1)
    axes.set_title(panel.title, parse_math=False, fontsize=10.5)
    axes.set_xlim(-0.03, 1.03)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("top-1")
    axes.grid(axis="both")
    axes.tick_params(length=0)


def _draw_series(
    axes: Axes,
    number: int,
    name: str,
    places: Sequence[float],
    cells: Sequence[Measured],
    line: str,
) -> None:
    axes.errorbar(
        places,
        [cell.mean for cell in cells],
        yerr=_bars(cells),
        **_look(number),
        label=name,
        linestyle=line,
        linewidth=1.4,
    )


def _bars(cells: Sequence[Measured]) -> list[float] | None:
    """The deviations; None where there is one seed, which has none."""
    return [cell.deviation for cell in cells] if have_deviations(cells) else None


def _look(number: int) -> dict[str, Any]:
    """Of the marks of a series, and of their error bars."""
    return {
        "color": SERIES[number % len(SERIES)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 5,
        "capsize": 3,
        "elinewidth": 1.4,
    }


def _finish_accuracy_over(axes: Axes, panel: Panel, xlabel: str) -> None:
    if panel.ceiling is not None:
        axes.axhline(panel.ceiling, color=FAINT, linestyle=(0, (4, 3)), linewidth=1)
    axes.set_title(panel.title, parse_math=False, fontsize=10.5)
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel=xlabel, ylabel="top-1")
    axes.grid(axis="both")
    axes.tick_params(length=0)


def _range(panel: Panel) -> tuple[float, float]:
    """Of the accuracies with their error bars, at least `LEAST_RANGE`."""
    every = [cell for cells in panel.series.values() for cell in cells.values()]
    low = min(cell.mean - cell.deviation for cell in every)
    high = max(cell.mean + cell.deviation for cell in every)
    aside = max(LEAST_RANGE - (high - low), 0.2 * (high - low)) / 2
    top = min(high + aside, 1.01)
    return min(low - aside, top - LEAST_RANGE), top


def _legend(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """Below the plots, where there is more than one series."""
    handles, names = axes.get_legend_handles_labels()
    if len(names) > 1:
        figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), columns))


def _svg(figure: Figure, name: str) -> str:
    """Without ids that a second plot of the page would have as well, and without addresses."""
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r' xmlns(?::\w+)?="[^"]*"', "", svg)
    svg = re.sub(r"<style.*?</style>|font-family: [^;]*; ", "", svg, flags=re.DOTALL)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    width, height = re.findall(r'(?:width|height)="([\d.]+)pt"', svg[: svg.index(">")])
    return svg.replace(f'width="{width}pt" height="{height}pt"', 'aria-hidden="true" focusable="false"', 1)
