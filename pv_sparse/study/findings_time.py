"""Findings on time: what each head makes of the order of frames."""

from collections.abc import Mapping

from pv_sparse.study import findings_published as published
from pv_sparse.study.findings_record import ORDERED, Evidence, Finding, MissingRowsError, aim, told
from pv_sparse.study.report_cells import Measured, above, all_of
from pv_sparse.study.report_names import APPEARANCE, ORDER, WALKING, model_name

# The most that can be had on the order data, and on the walking data, without knowing the order of the frames.
CEILING = 0.5
# How far from the ceiling still is "at the ceiling".
NEAR = 0.03
LEAST_ON_ORDER = 0.90
LEAST_ON_APPEARANCE = 0.95
LEAST_ON_WALKING = 0.95
# Accuracies no further apart than this are close.
CLOSE = 0.03

TSN_HEADS = ("tsn_avg", "tsn_max", "tsn_topk", "tsn_attention")
RELATION_HEADS = ("trn", "trn_multi_scale")
ECO_HEADS = ("eco_lite", "eco")
RECURRENT_HEADS = ("lstm", "gru", "conv_lstm")


def tsn_cannot_tell_twins(fusion: Evidence) -> Finding:
    """TSN on the order data is at one half, and TRN above it."""
    tsn, trn = fusion.models(ORDER, among=TSN_HEADS), fusion.models(ORDER, among=RELATION_HEADS)
    best = max(tsn.values(), key=lambda cell: cell.mean)
    at_ceiling = abs(best.mean - CEILING) <= NEAR
    higher = all_of([above(one, other) for one in trn.values() for other in tsn.values()])
    return Finding(
        fusion.experiment,
        "TSN cannot tell an event from its reverse",
        (published.SOMETHING_V2,),
        f"On order: {told(tsn)}. {told(trn)}. "
        + aim(at_ceiling, f"a TSN at its ceiling of {100 * CEILING:.0f} %, give or take {100 * NEAR:.0f} points"),
        False if best.mean > CEILING + NEAR else higher,
    )


def relations_tell_twins(fusion: Evidence) -> Finding:
    """TRN and ECO on the order data."""
    heads = fusion.models(ORDER, among=(*RELATION_HEADS, *ECO_HEADS))
    reached = all(cell.mean >= LEAST_ON_ORDER for cell in heads.values())
    return Finding(
        fusion.experiment,
        "TRN and ECO learn the order of frames",
        (published.JESTER,),
        f"On order: {told(heads)}. " + aim(reached, f"{100 * LEAST_ON_ORDER:.0f} % or more"),
        reached,
    )


def recurrent_heads(fusion: Evidence) -> Finding:
    """LSTM, GRU and ConvLSTM on the order data."""
    heads = fusion.models(ORDER, among=RECURRENT_HEADS)
    return Finding(
        fusion.experiment,
        "What recurrent heads make of the order",
        (),
        f"On order: {told(heads)}. {passed_the_ceiling(heads)}",
        None,
    )


def heads_are_close_on_appearance(fusion: Evidence) -> Finding:
    """The spread over all heads on the appearance data."""
    heads = fusion.models(APPEARANCE)
    (low, lowest), *_, (high, highest) = sorted(_at_least_two(heads).items(), key=lambda entry: entry[1].mean)
    return Finding(
        fusion.experiment,
        "Where looks decide, the heads are close",
        published.KINETICS_AND_SOMETHING,
        f"On appearance, lowest and highest of {len(heads)} heads: {model_name(low)} {lowest}, {model_name(high)} "
        f"{highest}, {100 * (highest.mean - lowest.mean):.1f} points apart; up to {100 * CLOSE:.0f} count as close. "
        + aim(lowest.mean >= LEAST_ON_APPEARANCE, f"{100 * LEAST_ON_APPEARANCE:.0f} % or more of each"),
        highest.mean - lowest.mean <= CLOSE,
    )


def shuffling_takes_the_order(order: Evidence) -> Finding:
    """TRN and ECO on shuffled frames of the order data."""
    pairs = _pairs(order, ORDER, "shuffled")
    reached = all(cell.mean <= CEILING + NEAR for _, cell in pairs.values())
    return Finding(
        order.experiment,
        "Shuffled frames take from TRN and ECO what they know of time",
        (published.SHUFFLED_ORDER,),
        f"On order, ordered and then shuffled: {_told_pairs(pairs)}. "
        + aim(reached, f"no more than TSN's ceiling of {100 * CEILING:.0f} %, give or take {100 * NEAR:.0f} points"),
        all_of([above(before, after) for before, after in pairs.values()]),
    )


def shuffling_leaves_appearance(order: Evidence) -> Finding:
    """TRN and ECO on shuffled frames of the appearance data."""
    pairs = _pairs(order, APPEARANCE, "shuffled")
    reached = all(abs(before.mean - after.mean) <= CLOSE for before, after in pairs.values())
    return Finding(
        order.experiment,
        "Where looks decide, shuffled frames do no harm",
        (published.SHUFFLED_APPEARANCE,),
        f"On appearance, ordered and then shuffled: {_told_pairs(pairs)}. "
        + aim(reached, f"within {100 * CLOSE:.0f} points"),
        reached,
    )


def reversing_shows_the_twin(order: Evidence) -> Finding:
    """TRN and ECO on reversed frames of the order data, which are those of the twin."""
    pairs = _pairs(order, ORDER, "reversed")
    return Finding(
        order.experiment,
        "What is left when the frames are reversed",
        (),
        f"On order, ordered and then reversed: {_told_pairs(pairs)}. Reversed, a video shows what its twin "
        "does: whoever reads the order must take it for that.",
        None,
    )


def walking_needs_a_grid(grids: Evidence) -> Finding:
    """TRN with and without a spatial grid on people who walk left or right; one that is not needed is told so."""
    tsn = grids.models(WALKING, "1x1", among=("tsn_avg",))["tsn_avg"]
    model = next((name for name in grids.models(WALKING, "1x1") if name != "tsn_avg"), None)
    if model is None:
        raise MissingRowsError("no rows of a TRN on walking")
    cells = grids.variants(WALKING, model)
    with_grid = {name: cell for name, cell in cells.items() if name != "1x1"}
    if not with_grid:
        raise MissingRowsError("no rows of a TRN with a grid")
    best, pooled = max(with_grid.values(), key=lambda cell: cell.mean), cells["1x1"]
    said = {True: "The grid helps.", False: "The grid does harm.", None: "Whether the grid helps cannot be told."}
    each = "; ".join(f"grid {name} {cell}" for name, cell in with_grid.items())
    return Finding(
        grids.experiment,
        "What a spatial grid tells TRN of people who walk",
        (),
        f"On walking: TSN {tsn}; TRN pooled to one cell {pooled}; {each}. {said[above(best, pooled)]} "
        + aim(best.mean >= LEAST_ON_WALKING, f"{100 * LEAST_ON_WALKING:.0f} % or more with a grid")
        + _need_of_a_grid(pooled, best)
        + " These networks were trained from scratch; frozen ones of other data are not measured here.",
        None,
    )


def passed_the_ceiling(cells: Mapping[str, Measured]) -> str:
    """How many of some models on the order data are above the ceiling of those who do not know the order."""
    passed = [cell.mean > CEILING + NEAR for cell in cells.values()]
    said = "All" if all(passed) else "Some" if any(passed) else "None"
    return f"{said} of them passed the ceiling of TSN."


def _need_of_a_grid(pooled: Measured, best: Measured) -> str:
    """Whether a TRN reaches the aim without a grid."""
    if pooled.mean >= LEAST_ON_WALKING:
        return " It does not take a grid: pooled to one cell, TRN gets there as well."
    return " It takes a grid: pooled to one cell, TRN does not get there." if best.mean >= LEAST_ON_WALKING else ""


def _pairs(order: Evidence, data: str, variant: str) -> dict[str, tuple[Measured, Measured]]:
    """The accuracies of each head that knows time, ordered and changed."""
    heads = (*RELATION_HEADS, *ECO_HEADS)
    before, after = order.models(data, ORDERED, heads), order.models(data, variant, heads)
    pairs = {model: (before[model], after[model]) for model in before if model in after}
    if not pairs:
        raise MissingRowsError(f"no model on {data} both ordered and {variant}")
    return pairs


def _told_pairs(pairs: dict[str, tuple[Measured, Measured]]) -> str:
    return "; ".join(f"{model_name(model)} {before}, then {after}" for model, (before, after) in pairs.items())


def _at_least_two(heads: dict[str, Measured]) -> dict[str, Measured]:
    if len(heads) < 2:
        raise MissingRowsError("one head alone cannot be compared")
    return heads
