"""Findings on heads: consensus, scales, ECO against TRN, and ensembles."""

from pv_sparse.study import findings_published as published
from pv_sparse.study.findings_record import Evidence, Finding, MissingRowsError, points, told
from pv_sparse.study.findings_time import TSN_HEADS
from pv_sparse.study.report_cells import above, all_of, not_below
from pv_sparse.study.report_names import APPEARANCE, ORDER, model_name

ENSEMBLE = "eco_ensemble"
MEMBERS = ("eco_lite_4", "eco_lite_8", "eco_lite_12")


def average_is_enough(fusion: Evidence) -> Finding:
    """TSN's consensus functions where they can differ, on the appearance data."""
    heads = fusion.models(APPEARANCE, among=TSN_HEADS)
    average, maximum = fusion.cell(APPEARANCE, "tsn_avg"), fusion.cell(APPEARANCE, "tsn_max")
    return Finding(
        fusion.experiment,
        "The average over segments is as good a consensus as any",
        (published.CONSENSUS,),
        f"On appearance: {told(heads)}. The average against the maximum: {points(average.mean - maximum.mean)}.",
        all_of([not_below(average, other) for other in heads.values()]),
    )


def many_scales_beat_one(fusion: Evidence) -> Finding:
    """Multi-scale TRN against a single scale, on the order data."""
    many, one = fusion.cell(ORDER, "trn_multi_scale"), fusion.cell(ORDER, "trn")
    return Finding(
        fusion.experiment,
        "Relations at many scales are better than at one",
        (published.MULTI_SCALE,),
        f"On order: multi-scale {many}, single-scale {one}, {points(many.mean - one.mean)}.",
        above(many, one),
    )


def eco_is_at_or_above_trn(fusion: Evidence) -> Finding:
    """ECO and ECO-Lite against the better TRN, on the order data."""
    relations, eco = (
        fusion.models(ORDER, among=("trn", "trn_multi_scale")),
        fusion.models(ORDER, among=("eco_lite", "eco")),
    )
    name, best = max(relations.items(), key=lambda entry: entry[1].mean)
    differences = ", ".join(f"{model_name(model)} {points(cell.mean - best.mean)}" for model, cell in eco.items())
    return Finding(
        fusion.experiment,
        "ECO is at TRN's level or above it",
        published.ECO_AND_TRN,
        f"On order: {told(eco)}; the better TRN, which is {model_name(name)}: {best}. Against it: {differences}.",
        all_of([not_below(cell, best) for cell in eco.values()]),
    )


def ensemble_beats_its_members(ensemble: Evidence) -> Finding:
    """ECO's ensemble of frame counts against its members and multi-scale TRN, on the order data."""
    fused, members = ensemble.cell(ORDER, ENSEMBLE), ensemble.models(ORDER, among=MEMBERS)
    name, best = max(members.items(), key=lambda entry: entry[1].mean)
    return Finding(
        ensemble.experiment,
        "ECO networks of several frame counts are better fused than each alone",
        published.ENSEMBLE,
        f"On order: fused {fused}; {told(members)}. Against the best of them, {model_name(name)}: "
        f"{points(fused.mean - best.mean)}.{_against_trn(ensemble)}",
        above(fused, best),
    )


def _against_trn(ensemble: Evidence) -> str:
    try:
        trn = ensemble.cell(ORDER, "trn_multi_scale")
    except MissingRowsError:
        return ""
    difference = ensemble.cell(ORDER, ENSEMBLE).mean - trn.mean
    return f" Against multi-scale TRN, {trn}: {points(difference)}."
