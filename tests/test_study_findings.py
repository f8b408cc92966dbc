"""What the findings of the study say of rows, and that they say nothing else."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from study_rows import study_results

from pv_sparse.study.findings import RULES, all_findings
from pv_sparse.study.findings_record import Finding, points
from pv_sparse.study.report_cells import Measured, above, all_of, measured, not_below
from pv_sparse.study.results import Results, Row

TSN_TITLE = "TSN cannot tell an event from its reverse"
GRID_TITLE = "What a spatial grid tells TRN of people who walk"
FLOW_TITLE = "Where looks decide, flow alone knows less than RGB"
MOTION_TITLE = "Modalities that hold motion give a TSN some of what its average forgets"


def changed(results: Results, change: Callable[[Row], Row]) -> Results:
    return replace(results, rows=[change(row) for row in results.rows])


def with_top1(top1: float, **where: str) -> Callable[[Row], Row]:
    """Rows that have all these values get another accuracy."""
    return lambda row: replace(row, top1=top1) if all(getattr(row, k) == v for k, v in where.items()) else row


def by_title(results: Results) -> dict[str, Finding]:
    return {finding.title: finding for finding in all_findings(results)}


def cell(mean: float, deviation: float = 0.0, num_seeds: int = 3, num_videos: int = 400) -> Measured:
    return Measured(mean, deviation, num_seeds, num_videos, 1.0, 1.0, None)


def test_a_whole_study_has_every_finding():
    found = all_findings(study_results())
    assert len(found) == sum(len(rules) for rules in RULES.values())
    assert len({finding.title for finding in found}) == len(found)
    assert {finding.experiment for finding in found} == set(RULES)


def test_findings_have_the_verdicts_of_the_rows():
    found = by_title(study_results())
    assert found[TSN_TITLE].agrees is True
    assert "TSN average 49.5 ± 0.4 %" in found[TSN_TITLE].ours
    assert found["Relations at many scales are better than at one"].verdict == "cannot tell"  # 2.7 points, 200 videos
    assert found["What recurrent heads make of the order"].verdict == "nothing published"


@pytest.mark.parametrize(
    ("title", "where", "top1"),
    [
        (TSN_TITLE, {"model": "tsn_avg"}, 0.8),
        ("TRN and ECO learn the order of frames", {"model": "eco_lite", "data": "order20"}, 0.5),
        ("Where looks decide, the heads are close", {"model": "gru", "data": "appearance20"}, 0.9),
        ("The average over segments is as good a consensus as any", {"model": "tsn_avg"}, 0.7),
        ("Relations at many scales are better than at one", {"model": "trn_multi_scale"}, 0.6),
        ("ECO is at TRN's level or above it", {"model": "eco_lite"}, 0.6),
        ("Shuffled frames take from TRN and ECO what they know of time", {"variant": "shuffled"}, 1.0),
        ("Where looks decide, shuffled frames do no harm", {"variant": "shuffled"}, 0.9),
        ("TRN multi-scale: more segments help, and then no more", {"variant": "8 trained, 8 tested"}, 0.4),
        ("A TSN can be tested on more segments than it was trained on", {"variant": "3 trained, 16 tested"}, 0.1),
        ("ECO networks of several frame counts are better fused than each alone", {"model": "eco_ensemble"}, 0.5),
        (MOTION_TITLE, {"model": "tsn_flow"}, 0.2),
        (FLOW_TITLE, {"model": "trn_rgb"}, 0.01),
        ("Fused with motion, RGB is better than alone, on order", {"model": "tsn_rgb+flow"}, 0.1),
    ],
)
def test_a_result_against_the_literature_is_told_as_such(title, where, top1):
    found = by_title(changed(study_results(), with_top1(top1, **where)))[title]
    assert found.agrees is False
    assert found.verdict == "does not agree"


def test_an_aim_that_was_missed_is_told_as_such():
    said = by_title(changed(study_results(), with_top1(0.7, experiment="study_grid")))[GRID_TITLE].ours
    assert "95 % or more with a grid, is not reached." in said
    assert "take a grid" not in said


@pytest.mark.parametrize(
    ("pooled", "with_grid", "helps", "needed"),
    [
        (0.74, 0.99, "The grid helps.", "It takes a grid: pooled to one cell, TRN does not get there."),
        (0.98, 1.0, "Whether the grid helps cannot be told.", "It does not take a grid: pooled to one cell, TRN gets"),
        (0.98, 0.6, "The grid does harm.", "It does not take a grid: pooled to one cell, TRN gets there as well."),
    ],
)
def test_a_grid_that_is_not_needed_is_told_as_such(pooled, with_grid, helps, needed):
    results = changed(study_results(), with_top1(with_grid, experiment="study_grid"))
    said = by_title(changed(results, with_top1(pooled, experiment="study_grid", variant="1x1")))[GRID_TITLE].ours
    assert helps in said
    assert needed in said


def test_what_modalities_see_is_told_from_the_rows():
    found = by_title(study_results())
    assert found[MOTION_TITLE].agrees is True
    assert found[MOTION_TITLE].ours.endswith("All of them passed the ceiling of TSN.")
    assert found[FLOW_TITLE].agrees is True
    assert found[FLOW_TITLE].ours.endswith("right for 5 %; no better than that: TSN flow, TRN flow.")
    seeing = by_title(changed(study_results(), with_top1(0.5, experiment="study_modalities")))
    assert seeing[MOTION_TITLE].ours.endswith("None of them passed the ceiling of TSN.")
    assert seeing[FLOW_TITLE].ours.endswith("no better than that: none of them.")


def test_a_rise_that_does_not_count_is_no_rise():
    """Neither from few to enough segments, nor beyond: one cannot tell where accuracy saturates."""
    results = changed(study_results(), with_top1(0.95, model="eco_lite"))
    results = changed(results, with_top1(0.96, model="eco_lite", variant="16 trained, 16 tested"))
    title = "ECO-Lite: more segments help, and then no more"
    assert by_title(results)[title].verdict == "cannot tell"
    risen = changed(results, with_top1(0.5, model="eco_lite", variant="8 trained, 8 tested"))
    assert by_title(risen)[title].verdict == "does not agree"


def test_every_measured_number_comes_from_rows():
    """Without rows' own numbers, what is left of two texts is the same: thresholds and names."""
    before, other = study_results(), changed(study_results(), lambda row: replace(row, top1=0.3 * row.top1))
    figures = re.compile(r"[+-]?\d+\.\d+")  # measured: with a point; thresholds are whole
    after = by_title(other)
    for finding in all_findings(before):
        again = after[finding.title]
        if "cost" not in finding.title:  # differences of 0.0 points stay
            assert not set(figures.findall(finding.ours)) & set(figures.findall(again.ours)) - {"0.1", "0.4", "+0.1"}, (
                finding.ours
            )
        assert finding.ours != again.ours
        assert finding.published == again.published


def test_each_figure_of_a_finding_follows_its_row():
    results = study_results(seeds=1)
    top1 = {(cell.model, cell.variant): f"{100 * own.mean:.1f} %" for cell, own in measured(results).items()
            if (cell.experiment, cell.data) == ("study_grid", "walking")}  # fmt: skip
    said = by_title(results)[GRID_TITLE].ours
    assert re.findall(r"\d+\.\d %", said) == list(top1.values())


def test_one_seed_has_no_deviations():
    assert all("±" not in finding.ours for finding in all_findings(study_results(seeds=1)))


def test_findings_whose_rows_are_missing_are_left_out():
    results = study_results()
    without = replace(results, rows=[row for row in results.rows if row.experiment == "study_grid"])
    assert [finding.experiment for finding in all_findings(without)] == ["study_grid"]
    few = {"tsn_avg", "trn_multi_scale"}  # what the smallest level may have
    left = replace(results, rows=[row for row in results.rows if row.model in few and row.variant == "ordered"])
    assert {finding.title for finding in all_findings(left)} == {
        TSN_TITLE,
        "TRN and ECO learn the order of frames",
        "Where looks decide, the heads are close",
    }
    assert all_findings(replace(results, rows=[])) == []


def test_a_difference_counts_from_two_standard_errors_on():
    # Of 400 videos at one half the standard error is 2.5 points; of two such accuracies' difference it is 3.5.
    assert above(cell(0.5 + 0.08), cell(0.5)) is True
    assert above(cell(0.5), cell(0.5 + 0.08)) is False
    assert above(cell(0.5 + 0.06), cell(0.5)) is None
    assert above(cell(1.0), cell(1.0)) is None
    assert above(cell(1.0, num_videos=100), cell(0.97, num_videos=100)) is None  # all right is not free of error
    assert above(cell(1.0, num_videos=100), cell(0.9, num_videos=100)) is True
    assert above(cell(0.58, deviation=0.1), cell(0.5)) is None


def test_no_difference_has_no_sign_that_chance_gave_it():
    assert points(-0.0001) == points(0.0001) == "+0.0 points"
    assert points(-0.012, 0.004) == "-1.2 ± 0.4 points"


def test_at_least_as_good_forgives_a_point():
    assert not_below(cell(0.99), cell(1.0)) is True
    assert not_below(cell(0.9), cell(1.0)) is False
    assert not_below(cell(0.48), cell(0.5)) is None


@pytest.mark.parametrize(
    ("verdicts", "together"),
    [((True, True), True), ((True, None), None), ((None, False), False), ((), True)],
)
def test_all_have_to_agree(verdicts, together):
    assert all_of(verdicts) is together


def test_recalled_figures_are_marked():
    published = [figure for finding in all_findings(study_results()) for figure in finding.published]
    assert {figure.checked for figure in published} == {True, False}
    for figure in published:
        # Of the papers themselves only abstracts and listings were read.
        is_read = "listed" in figure.source or "EC" not in figure.source
        assert figure.checked == is_read or figure.source == "TSN, TPAMI 2018", figure
