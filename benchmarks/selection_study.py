"""What the rows of `study_selection` say: accuracy and cost of selectors, and the aims. Called by selection.py."""

import re
from collections.abc import Callable
from pathlib import Path

from pv_sparse.study.results import Row, mean_and_deviation, read_results

EXPERIMENT, UNTRIMMED = "study_selection", "untrimmed_"
SELECTED = ("saliency", "motion", "diverse")
MORE_POINTS, FEWER_POINTS, CPU_SHARE = 15.0, -1.0, 0.5
Cells = dict[str, list[Row]]  # by variant


def study(path: Path) -> dict:
    rows = [row for row in read_results(path).rows if row.experiment == EXPERIMENT]
    if not rows:
        print(f"{path} has no rows of {EXPERIMENT}: nothing to tell; `pv-sparse study --only {EXPERIMENT}` makes them")
    pairs: dict[tuple[str, str], Cells] = {}
    for row in rows:
        pairs.setdefault((row.data, row.model), {}).setdefault(row.variant, []).append(row)
    return {"rows": [told for (data, model), cells in pairs.items() for told in pair_rows(data, model, cells)]}


def pair_rows(data: str, model: str, cells: Cells) -> list[dict]:
    """What each variant reached on these data, then the aims."""
    print(f"{data}, {model}")
    found = []
    for variant, rows in cells.items():
        top1, cpu, seeds = points(rows), cpu_milliseconds(rows), len(rows)
        deviation = 100 * mean_and_deviation(rows).deviation
        print(f"  {variant:14} top-1 {top1:5.1f} % +- {deviation:.1f} of {seeds} seeds, {cpu:7.1f} CPU ms a video")
        found.append({"variant": variant, "top1": top1, "deviation": deviation, "cpu_ms": cpu, "seeds": seeds})
    aims = untrimmed_aims(cells) if data.startswith(UNTRIMMED) else trimmed_aims(cells)
    for aim in aims:
        print(f"  {aim['aim']:46} {aim.get('found', '')}{told_verdict(aim)}", flush=True)
    return [{"data": data, "model": model, **each} for each in found + aims]


def untrimmed_aims(cells: Cells) -> list[dict]:
    aims = (("even 8", points_between, MORE_POINTS), ("even 32", points_between, FEWER_POINTS))
    told = [aim(cells, "saliency 8", other, measure, least) for other, measure, least in aims]
    return [*told, aim(cells, "saliency 8", "even 32", cpu_share, CPU_SHARE)]


def trimmed_aims(cells: Cells) -> list[dict]:
    """Of each selector and number of segments that were tested, and of those that should have been."""
    tested = [match for variant in cells if (match := re.fullmatch(r"(\w+) (\d+)", variant)) and match[1] != "even"]
    wanted = dict.fromkeys([(match[1], match[2]) for match in tested] + [(name, "8") for name in SELECTED])
    return [aim(cells, f"{name} {many}", f"even {many}", points_between, FEWER_POINTS) for name, many in wanted]


def aim(cells: Cells, own: str, other: str, measure: Callable[[Cells, str, str], float], limit: float) -> dict:
    is_share = measure is cpu_share
    wanted = f"at most {limit} of its CPU" if is_share else f"at least {limit:+.1f} points"
    told: dict = {"aim": f"{own} {'over' if is_share else 'minus'} {other}"}
    if missing := [variant for variant in (own, other) if variant not in cells]:
        return told | {"wanted": wanted, "verdict": f"not measured, no rows of {' and '.join(missing)}"}
    found = round(measure(cells, own, other), 3)  # -1.0 is -1.0, whatever floats make of it
    is_met = found <= limit if is_share else found >= limit
    return told | {"found": f"{found:.2f} of its CPU" if is_share else f"{found:+.1f} points"} | verdict(is_met, wanted)


def points_between(cells: Cells, own: str, other: str) -> float:
    return points(cells[own]) - points(cells[other])


def cpu_share(cells: Cells, own: str, other: str) -> float:
    return cpu_milliseconds(cells[own]) / cpu_milliseconds(cells[other])


def points(rows: list[Row]) -> float:
    return 100 * mean_and_deviation(rows).mean


def cpu_milliseconds(rows: list[Row]) -> float:
    """Of a video: opening, choosing, decoding, network."""
    return 1e3 * mean_and_deviation(rows, "cpu_seconds").mean / rows[0].num_videos


def verdict(is_met: bool, wanted: str) -> dict[str, str]:
    return {"wanted": wanted, "verdict": "met" if is_met else "missed"}


def told_verdict(row: dict) -> str:
    return f"; {row['wanted']} wanted: {row['verdict']}" if "wanted" in row else ""
