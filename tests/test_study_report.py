"""The page of the study's report: what it shows comes from the results, and it needs nothing but itself."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from study_rows import study_results

from pv_sparse.study.plots import VARIABLES, Panel, plot_dots
from pv_sparse.study.report import STYLE_SHEET, write_report
from pv_sparse.study.report_cells import Measured
from pv_sparse.study.results import Results, read_results

COMMITTED = Path(__file__).parents[1] / "docs" / "study"
VOID = {"meta", "link", "img", "br", "hr"}
NOT_TEXT = {"svg", "img", "style"}


class Page(HTMLParser):
    """A page read: its texts outside pictures, its elements, and whether they are closed in order."""

    def __init__(self, html: str):
        super().__init__()
        self.texts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"{self._open} stay open"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if data.strip() and not NOT_TEXT & {*self._open}:
            self.texts.append(" ".join(data.split()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def text_of(html: str) -> list[str]:
    """All texts of a page and the cells of its tables, without drawings and pictures."""
    return Page(html).texts


def page_of(results: Results, folder: Path) -> str:
    return write_report(results, folder).read_text(encoding="utf-8")


def some(*experiments: str, seeds: int = 3, level: str = "full") -> Results:
    """Some of the results: plots take time."""
    results = study_results(seeds, level)
    return replace(results, rows=[row for row in results.rows if row.experiment in experiments])


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> str:
    return page_of(study_results(), tmp_path_factory.mktemp("study"))


def test_the_committed_report_says_what_its_results_say(tmp_path):
    if not (COMMITTED / "results.json").is_file():
        pytest.skip("docs/study/results.json is not there yet")
    if (COMMITTED / "sheets").is_dir():
        shutil.copytree(COMMITTED / "sheets", tmp_path / "sheets")
    committed = (COMMITTED / "report.html").read_text(encoding="utf-8")
    assert text_of(committed) == text_of(page_of(read_results(COMMITTED), tmp_path))


def test_the_page_is_well_formed_and_has_what_readers_need(html):
    page = Page(html)
    assert page.all("html")[0]["lang"] == "en"
    assert [len(page.all(tag)) for tag in ("title", "h1", "main")] == [1, 1, 1]
    assert {cell["scope"] for cell in page.all("th")} == {"col", "row"}
    assert len(page.all("caption")) == len(page.all("table")) == 10
    pictures = [own for own in page.all("div") if own.get("role") == "img"]
    assert len(pictures) == len(page.all("svg")) == 9
    assert all("top-1" in (own["aria-label"] or "") for own in pictures)


def test_ids_are_unique_and_all_that_is_referred_to_is_there(html):
    page = Page(html)
    ids = [own["id"] for _, own in page.elements if "id" in own]
    assert len(ids) == len(set(ids))
    links = [value for _, own in page.elements for name, value in own.items() if name in ("href", "xlink:href")]
    clips = re.findall(r"url\(#([^)]+)\)", html)
    labels = [own["aria-labelledby"] for own in page.all("section")]
    assert {link[1:] for link in links if link != "data:,"} | {*clips, *labels} <= set(ids)


def test_the_page_needs_nothing_else(html):
    page = Page(html)
    assert not re.findall(r"https?:|//\w|@import|<script|<style[^>]*>\*", html)
    assert not [own for own in page.all("link") if own["href"] != "data:,"]
    assert not page.all("script") + page.all("iframe")


def test_the_same_results_give_the_same_page(tmp_path):
    results = some("study_ensemble")
    assert page_of(results, tmp_path) == page_of(results, tmp_path)


def test_light_and_dark_have_the_same_variables(html):
    style = STYLE_SHEET.read_text(encoding="utf-8")
    light, dark = (set(re.findall(r"(--[\w-]+): #", part)) for part in style.split("@media (prefers-color-scheme"))
    assert light == dark
    assert set(VARIABLES.values()) <= light
    drawings = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    assert not re.findall(r"#[0-9a-f]{6}\b(?!\))", re.sub(r"(?:href=\"|url\()#\w+", "", drawings))


def test_tables_have_means_and_deviations_of_the_rows(html, tmp_path):
    texts = text_of(html)
    at = texts.index("TRN multi-scale", texts.index("Table, 22 rows"))
    assert texts[at : at + 7] == ["TRN multi-scale", "order", "ordered", "95.2 ± 0.4 %", "24.8", "0.8", "61"]
    fused = texts.index("ECO-Lite ensemble")
    assert texts[fused + 6] == "fused"
    results = some("study_ensemble")
    other = replace(results, rows=[replace(row, top1=row.top1 / 2) for row in results.rows])
    assert "47.6 ± 0.2 %" in text_of(page_of(other, tmp_path))


def test_each_experiment_has_its_command_and_its_findings(html):
    texts = text_of(html)
    for name in ("fusion", "time_order", "segments", "sampling", "grid", "ensemble", "modalities", "spliced"):
        assert f"pv-sparse study --full --only study_{name}" in texts
    assert texts.count("TSN cannot tell an event from its reverse") == 2
    assert "pv-sparse study --full" in texts


def test_recalled_figures_are_marked(html):
    assert "[TSN, ECCV 2016; recalled, unchecked]" in text_of(html)


def test_the_machine_and_the_versions_are_told(html):
    texts = text_of(html)
    for term, value in (("processor", "A Processor"), ("accelerator", "none"), ("torch", "2.0"), ("devices", "none")):
        assert texts[texts.index(term) + 1] == value


def test_experiments_without_rows_are_left_out_with_a_line(tmp_path):
    texts = text_of(page_of(some("study_ensemble"), tmp_path))
    (line,) = (text for text in texts if text.startswith("Left out, since there are no rows of them: "))
    assert all(title in line for title in ("Fusion", "Segments", "Modalities"))
    assert not any("walk left" in text for text in texts)


def test_results_without_rows_make_a_page(tmp_path):
    assert "These rows do not suffice for any." in text_of(page_of(replace(study_results(), rows=[]), tmp_path))


def test_an_experiment_that_is_not_known_is_shown_all_the_same(tmp_path):
    results = study_results()
    rows = [replace(row, experiment="study_<new>", data="own", model="m&m") for row in results.rows[:3]]
    page = page_of(replace(results, rows=rows, commands={}), tmp_path)
    assert {"<new>", "m&m", "own"} <= {*text_of(page)}


def test_one_seed_is_told_and_has_no_deviation(tmp_path):
    page = page_of(some("study_ensemble", seeds=1, level="quick"), tmp_path)
    texts = text_of(page)
    assert any(text.startswith("One seed, tested on 200 videos.") for text in texts)
    assert "Ensemble: one seed" in texts
    assert any("what other seeds would give is not in it" in text for text in texts)
    assert not re.search("means over|standard deviation|error bars", page, flags=re.IGNORECASE)
    assert any("--quick" in text for text in texts)
    assert "95.2 %" not in texts  # seed 0 lies below the mean
    assert "94.8 %" in texts


def test_contact_sheets_are_put_into_the_page(tmp_path):
    folder = tmp_path / "sheets"
    folder.mkdir()
    Image.new("RGB", (8, 8), "red").save(folder / "a.jpg")
    sheets = [{"file": name, "alt": 'Frames of "a"', "caption": "Taken for a"} for name in ("a.jpg", "missing.jpg")]
    (folder / "sheets.json").write_text(json.dumps(sheets))
    page = Page(page_of(some("study_grid"), tmp_path))
    (picture,) = page.all("img")
    assert picture["alt"] == 'Frames of "a"'
    assert (picture["src"] or "").startswith("data:image/jpeg;base64,")
    assert "Taken for a" in page.texts


def bars(deviation: float, num_seeds: int = 3) -> list[float]:
    """The lengths of the error bars of a plot."""
    cell = Measured(0.5, deviation, num_seeds, 100, 1.0, 1.0, None)
    svg = plot_dots([Panel("", {"": {"a": cell}})], "test")
    places = re.findall(r'd="M ([\d.]+) [\d.]+ \nL ([\d.]+) [\d.]+ \n"[^>]*stroke: var\(--series-1\)', svg)
    return [float(right) - float(left) for left, right in places]


def test_error_bars_are_as_long_as_the_deviation():
    assert bars(0.2)[0] == pytest.approx(2 * bars(0.1)[0], rel=1e-3)
    assert bars(0.1)[0] > 10


def test_one_seed_has_no_error_bars():
    assert bars(0.0) == [0.0]
    assert bars(0.0, num_seeds=1) == []
