"""The report of a study: one page of HTML that holds all it shows, made of `results.json` and the contact sheets."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml

from pv_sparse.resources import resource_dir
from pv_sparse.study.findings import RULES, all_findings
from pv_sparse.study.findings_published import REFERENCES
from pv_sparse.study.findings_record import Finding
from pv_sparse.study.report_cells import ERRORS_THAT_COUNT, Measured, have_deviations, measured
from pv_sparse.study.report_findings import NOT_CHECKED, findings_list, findings_section
from pv_sparse.study.report_html import definitions, element, picture, section, svg_figure, table, unbroken, wrap
from pv_sparse.study.report_names import DATA, DATA_TEXTS, data_name, model_name
from pv_sparse.study.report_plots import plot
from pv_sparse.study.results import Cell, Results
from pv_sparse.whole_files import whole_file

REPORT_FILE = "report.html"
SHEETS_FOLDER, SHEETS_FILE = "sheets", "sheets.json"
STYLE_SHEET = Path(__file__).with_name("report.css")
TITLE = "What TSN, TRN and ECO can and cannot see"
LEVEL_FLAGS = {"quick": " --quick", "full": " --full"}
MOST_OPEN_ROWS = 24


def write_report(results: Results, folder: Path) -> Path:
    """Write `report.html`; one that is there is replaced.

    Needs nothing but itself: no network, no scripts. The same results give the same page.

    Args:
        results: those of any level; experiments without rows are left out with a line.
        folder: of the study; pictures named by its `sheets/sheets.json` are put into the page.

    Returns:
        The path of the page.
    """
    cells, findings = measured(results), all_findings(results)
    present = list(dict.fromkeys(cell.experiment for cell in cells))
    parts = [
        _heading(results),
        findings_section(findings),
        *(_experiment(name, results, cells, findings) for name in present),
        _missing([name for name in RULES if name not in present]),
        _sheets(folder / SHEETS_FOLDER),
        _how_to_read(have_deviations(cells.values())),
        _how_made(results),
    ]
    path = folder / REPORT_FILE
    with whole_file(path) as file:
        file.write(_page("\n".join(part for part in parts if part)).encode("utf-8"))
    return path


def _page(content: str) -> str:
    style = STYLE_SHEET.read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<title>{escape(TITLE)}</title>\n<link rel="icon" href="data:,">\n<style>\n{style}</style>\n</head>\n'
        f"<body>\n<main>\n{content}\n</main>\n</body>\n</html>\n"
    )


def _heading(results: Results) -> str:
    data = list(dict.fromkeys(row.data for row in results.rows))
    known = [(data_name(name).capitalize(), DATA_TEXTS[name]) for name in DATA if name in data]
    seeds = len({row.seed for row in results.rows})
    return wrap(
        "header",
        element("h1", TITLE)
        + element(
            "p",
            "Three ways to recognise an action from few frames spread over a video: TSN averages what each frame "
            "says, TRN relates them in their order, ECO reads them with a 3-D network. Small networks of each were "
            "trained on tasks that need time and on tasks that do not.",
            class_="lead",
        )
        + element("p", f"Level {results.level}, {len(results.rows)} rows, seeds: {seeds}.", class_="faint")
        + definitions(known),
    )


def _experiment(name: str, results: Results, cells: dict[Cell, Measured], findings: Sequence[Finding]) -> str:
    own = {cell: figures for cell, figures in cells.items() if cell.experiment == name}
    title, question = _texts(name)
    svg, alt = plot(name, own)
    is_open = {"open": ""} if len(own) <= MOST_OPEN_ROWS else {}
    command = results.commands.get(name)
    parts = [
        element("p", question, class_="question") if question else "",
        findings_list([(number, finding) for number, finding in enumerate(findings) if finding.experiment == name]),
        svg_figure(svg, alt, _caption(list(own.values()))),
        wrap("p", f"Made by {element('code', command)}", class_="command") if command else "",
        wrap("details", element("summary", f"Table, {len(own)} rows") + _table(title, own), **is_open),
    ]
    return section(name, title, "\n".join(part for part in parts if part))


def _caption(figures: Sequence[Measured]) -> str:
    """Of a plot: how many seeds and videos, and what its bars are."""
    videos = " or ".join(str(number) for number in sorted({own.num_videos for own in figures}))
    if not have_deviations(figures):
        return f"One seed, tested on {videos} videos. What other seeds would give is not measured: there are no bars."
    seeds = {own.num_seeds for own in figures}
    return f"Means over {_range(seeds)}, each tested on {videos} videos; bars are standard deviations over the seeds."


def _table(title: str, cells: dict[Cell, Measured]) -> str:
    heads = ("Model", "Data", "Variant", "Top-1", "CPU ms a video", "of it decoding", "CPU s of training")
    rows = [
        [
            escape(model_name(cell.model)),
            escape(data_name(cell.data)),
            escape(cell.variant),
            unbroken(str(figures)),
            f"{figures.cpu_ms:.1f}",
            f"{figures.decode_ms:.1f}",
            "fused" if figures.train_cpu_seconds is None else f"{figures.train_cpu_seconds:.0f}",
        ]
        for cell, figures in cells.items()
    ]
    what = "mean and standard deviation over seeds" if have_deviations(cells.values()) else "one seed"
    return table(f"{title}: {what}", heads, rows, "figures")


def _missing(experiments: Sequence[str]) -> str:
    if not experiments:
        return ""
    names = ", ".join(_texts(name)[0] for name in experiments)
    return element("p", f"Left out, since there are no rows of them: {names}.", class_="faint")


def _sheets(folder: Path) -> str:
    """What `relevance.write_sheets` left."""
    if not (folder / SHEETS_FILE).is_file():
        return ""
    told = json.loads((folder / SHEETS_FILE).read_text(encoding="utf-8"))
    there = [sheet for sheet in told if (folder / sheet["file"]).is_file()]
    if not there:
        return ""
    figures = "".join(picture(folder / sheet["file"], sheet["alt"], sheet["caption"]) for sheet in there)
    intro = "The frames that a TRN was shown. Marked are those of the tuple that speaks most for its answer."
    return section("sheets", "What TRN found relevant", element("p", intro) + wrap("div", figures, class_="sheets"))


def _how_to_read(has_seeds: bool) -> str:
    would_differ = (
        "other seeds and other test videos, drawn anew for each model, would give"
        if has_seeds
        else "other test videos, drawn anew for each model, would give; what other seeds would give is not in it"
    )
    points = (
        "Top-1 is the share of test videos whose class got the highest score; of spliced ones, see above. The dashed "
        "line marks one half, the most that can be had on order and walking without knowing the order of the frames. "
        "Accuracies over the time of decoding have axes of their own range.",
        f"A difference counts where it is more than {ERRORS_THAT_COUNT:g} times its standard error, that which "
        f"{would_differ}. Where it is less, the report says that it cannot tell. Aims, and what is called close, are "
        "held against the accuracies as they are.",
        "CPU milliseconds are those of the whole test on one thread, divided by its videos: opening, decoding, "
        "transform and network; decoding means all before the network, what a selector looks at too. The experiments "
        "on sampling, selection and spliced videos read the video files; the others read frames, or optical flow, that "
        "were made of them before.",
        f"Published figures are accuracies of much larger networks on real data: the direction is what compares. Those "
        f"marked as {NOT_CHECKED} come from memory of the papers.",
    )
    content = wrap("ul", "".join(element("li", text) for text in points))
    return section("reading", "How to read this", content + definitions(list(REFERENCES.items())))


def _how_made(results: Results) -> str:
    command = f"pv-sparse study{LEVEL_FLAGS.get(results.level, '')}"
    pairs = [
        ("again", command),
        ("page alone", "pv-sparse study report DIR"),
        *((name, _plain(value)) for name, value in {**results.machine, **results.versions}.items()),
    ]
    return section("made", "How it was made", definitions([(name.replace("_", " "), text) for name, text in pairs]))


def _texts(experiment: str) -> tuple[str, str]:
    """Title and question, as the experiment's configuration has them; of one that is not there, its name."""
    file = resource_dir("configs") / "experiment" / f"{experiment}.yaml"
    told: dict[str, Any] = {}
    if file.is_file():
        told = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("study") or {}
    name = experiment.removeprefix("study_").replace("_", " ").capitalize()
    return str(told.get("title") or name), str(told.get("question") or "")


def _range(seeds: set[int]) -> str:
    least, most = min(seeds), max(seeds)
    return f"{most} seeds" if least == most else f"{least} to {most} seeds"


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
