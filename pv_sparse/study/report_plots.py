"""Which plot an experiment gets, and what it shows in words."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pv_sparse.study.findings_input import segments_of
from pv_sparse.study.findings_selection import choice_of
from pv_sparse.study.findings_time import CEILING
from pv_sparse.study.plots import Panel, plot_costs, plot_dots, plot_lines
from pv_sparse.study.report_cells import Measured, have_deviations
from pv_sparse.study.report_names import BY_LOOKS, data_name, model_name
from pv_sparse.study.results import Cell

Cells = Mapping[Cell, Measured]


class Plot(NamedTuple):
    """A drawing, and what it shows."""

    svg: str
    alt: str


def plot(experiment: str, cells: Cells) -> Plot:
    """The plot of one experiment; one that is not known here gets dots.

    Args:
        experiment: its name, which also makes the ids of the drawing its own.
        cells: of this experiment.
    """
    return PLOTS.get(experiment, _dots_by_model_and_variant)(experiment, cells)


def _dots_by_data(experiment: str, cells: Cells) -> Plot:
    """A row a model, a colour a data set."""
    series = _series(cells, lambda cell: data_name(cell.data), lambda cell: model_name(cell.model))
    panel = Panel("", series, _ceiling(cells))
    return Plot(plot_dots([panel], experiment), _alt([panel], "a row a model, a colour a data set"))


def _dots_by_variant(experiment: str, cells: Cells) -> Plot:
    """A panel a data set, a row a model, a colour a variant."""
    panels = [
        Panel(
            data_name(data), _series(own, lambda cell: cell.variant, lambda cell: model_name(cell.model)), _ceiling(own)
        )
        for data, own in _by_data(cells).items()
    ]
    return Plot(plot_dots(panels, experiment), _alt(panels, "a row a model, a colour a variant"))


def _dots_by_model_and_variant(experiment: str, cells: Cells) -> Plot:
    """A panel a data set, a row a variant of a model."""
    panels = [
        Panel(
            data_name(data),
            {"": {f"{model_name(cell.model)}, {cell.variant}": m for cell, m in own.items()}},
            _ceiling(own),
        )
        for data, own in _by_data(cells).items()
    ]
    return Plot(plot_dots(panels, experiment), _alt(panels, "a row a variant of a model"))


def _lines(experiment: str, cells: Cells) -> Plot:
    """A line a model, and for TSN, which takes any number in the test, one a number of segments in training."""
    series: dict[str, dict[str, Measured]] = {}
    for cell, own in sorted(cells.items(), key=lambda entry: (entry[0].model, segments_of(entry[0].variant))):
        trained, tested = segments_of(cell.variant)
        is_free = cell.model.startswith("tsn")
        name = f"{model_name(cell.model)}, trained on {trained}" if is_free else model_name(cell.model)
        series.setdefault(name, {})[str(tested)] = own
    panel = Panel("", series, _ceiling(cells))
    svg = plot_lines(panel, experiment, "segments in the test")
    return Plot(svg, _alt([panel], "lines over the number of segments in the test"))


def _costs(experiment: str, cells: Cells) -> Plot:
    """A panel a model and data set, a mark a choice of frames."""
    pairs = dict.fromkeys((cell.model, cell.data) for cell in cells)
    panels = []
    for model, data in pairs:
        own = {cell: m for cell, m in cells.items() if (cell.model, cell.data) == (model, data)}
        series = _series(own, _variant, lambda _: "")
        panels.append(Panel(f"{model_name(model)}, {data_name(data)}", series, _ceiling(own)))
    return Plot(plot_costs(panels, experiment), _alt(panels, "a mark a choice of frames"))


def _curves(experiment: str, cells: Cells) -> Plot:
    """A panel a model and data set, a line a selector, over what all of it costs."""
    panels = []
    for model, data in dict.fromkeys((cell.model, cell.data) for cell in cells):
        own = {cell: m for cell, m in cells.items() if (cell.model, cell.data) == (model, data)}
        ascending = dict(sorted(own.items(), key=lambda entry: choice_of(entry[0].variant)[1]))
        series = _series(ascending, lambda cell: choice_of(cell.variant)[0], _variant)
        panels.append(Panel(f"{model_name(model)}, {data_name(data)}", series, _ceiling(own)))
    svg = plot_costs(panels, experiment, "cpu_ms", "CPU ms of a video", "-")
    return Plot(svg, _alt(panels, "a line a selector, over the CPU time of a video"))


PLOTS: dict[str, Callable[[str, Cells], Plot]] = {
    "study_fusion": _dots_by_data,
    "study_time_order": _dots_by_variant,
    "study_segments": _lines,
    "study_sampling": _costs,
    "study_grid": _dots_by_variant,
    "study_ensemble": _dots_by_data,
    "study_modalities": _dots_by_data,
    "study_selection": _curves,
    "study_spliced": _curves,
}


def _series(
    cells: Cells, series_of: Callable[[Cell], str], label_of: Callable[[Cell], str]
) -> dict[str, dict[str, Measured]]:
    series: dict[str, dict[str, Measured]] = {}
    for cell, own in cells.items():
        series.setdefault(series_of(cell), {})[label_of(cell)] = own
    return series


def _variant(cell: Cell) -> str:
    return cell.variant


def _by_data(cells: Cells) -> dict[str, Cells]:
    return {data: {c: m for c, m in cells.items() if c.data == data} for data in dict.fromkeys(c.data for c in cells)}


def _ceiling(cells: Cells) -> float | None:
    """Of those who do not know the order of the frames; there is none where looks decide."""
    return None if all(cell.data in BY_LOOKS for cell in cells) else CEILING


def _alt(panels: list[Panel], what: str) -> str:
    every = [cell for panel in panels for cells in panel.series.values() for cell in cells.values()]
    low, high = min(cell.mean for cell in every), max(cell.mean for cell in every)
    bars = " with error bars" if have_deviations(every) else ""
    return (
        f"Plot of top-1 accuracy{bars}, {what}. {len(every)} values from {100 * low:.1f} % to "
        f"{100 * high:.1f} %, which the table below gives."
    )
