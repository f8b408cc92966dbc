"""Findings on the input: how many segments, which frames of them, and which modality."""

import math
from collections.abc import Callable, Sequence

from pv_sparse.study import findings_published as published
from pv_sparse.study.appearance20 import CLASSES
from pv_sparse.study.findings_published import Published
from pv_sparse.study.findings_record import Evidence, Finding, MissingRowsError, points, told
from pv_sparse.study.findings_time import passed_the_ceiling
from pv_sparse.study.report_cells import ERRORS_THAT_COUNT, Measured, above, all_of, not_below
from pv_sparse.study.report_names import APPEARANCE, ORDER, data_name, model_name

# Beyond this many segments, no more than this share of what came before is to be gained where accuracy saturates.
ENOUGH_SEGMENTS = 8
SATURATED_SHARE = 0.5
FUSION_SIGN = "+"
RGB_AND_FLOW = (("tsn_rgb", "tsn_flow"), ("trn_rgb", "trn_flow"))
SINGLE_MODALITIES = ("tsn_rgb", "tsn_rgbdiff", "tsn_flow", "trn_rgb", "trn_rgbdiff", "trn_flow")
# The share of the appearance data that a guess is right for; its classes are equally many.
CHANCE = 1 / len(CLASSES)


def segments_of(variant: str) -> tuple[int, int]:
    """`3 trained, 8 tested` -> (3, 8)."""
    trained, tested = variant.split(", ")
    return int(trained.removesuffix(" trained")), int(tested.removesuffix(" tested"))


def segments_saturate(model: str, literature: Sequence[Published]) -> Callable[[Evidence], Finding]:
    """The finding on a model that is tested on as many segments as it was trained on."""

    def finding(segments: Evidence) -> Finding:
        cells = {segments_of(name): cell for name, cell in segments.variants(ORDER, model).items()}
        same = dict(sorted((trained, cell) for (trained, tested), cell in cells.items() if trained == tested))
        fewest, enough, most = _three(list(same))
        gain, rest = same[enough].mean - same[fewest].mean, same[most].mean - same[enough].mean
        helps = above(same[enough], same[fewest])
        # Where what is left to be gained is less than counts, it does not say that accuracy still rises.
        still_rises = rest > SATURATED_SHARE * max(gain, 0)
        saturates = (None if above(same[most], same[enough]) is None else False) if still_rises else True
        each = "; ".join(f"K = {number} {cell}" for number, cell in same.items())
        return Finding(
            segments.experiment,
            f"{model_name(model)}: more segments help, and then no more",
            tuple(literature),
            f"On order, trained and tested on K segments: {each}. "
            f"From {fewest} to {enough}: {points(gain)}; from {enough} to {most}: {points(rest)}.",
            all_of([helps, saturates]),
        )

    return finding


def more_segments_in_the_test(segments: Evidence) -> Finding:
    """TSN trained on 3 segments and tested on more."""
    cells = {segments_of(name): cell for name, cell in segments.variants(ORDER, "tsn_avg").items()}
    of_three = dict(sorted((tested, cell) for (trained, tested), cell in cells.items() if trained == 3))
    if 3 not in of_three or max(of_three) == 3:
        raise MissingRowsError("no TSN of 3 segments that is tested on more")
    most = max(of_three)
    return Finding(
        segments.experiment,
        "A TSN can be tested on more segments than it was trained on",
        (published.MORE_SEGMENTS_IN_TEST,),
        f"On order, trained on 3 and tested on 3: {of_three[3]}; on {most}: {of_three[most]}, "
        f"{points(of_three[most].mean - of_three[3].mean)}.",
        not_below(of_three[most], of_three[3]),
    )


def cheap_frames(variant: str, title: str) -> Callable[[Evidence], Finding]:
    """The finding on a cheaper choice of frames, for every data set and model."""

    def finding(sampling: Evidence) -> Finding:
        told_of_each = [
            text
            for data in sampling.data()
            for model in sampling.models(data, "center")
            if (text := _cost(sampling, data, model, variant))
        ]
        if not told_of_each:
            raise MissingRowsError(f"no rows of {variant}")
        return Finding(
            sampling.experiment,
            title,
            (),
            f"Against the centre of each segment, at {_time(sampling, variant)} of its decoding time: "
            f"{'; '.join(told_of_each)}.",
            None,
        )

    return finding


def motion_alone_sees_the_order(modalities: Evidence) -> Finding:
    """TSN on RGB differences and flow, which hold the order of neighbouring frames, against RGB on the order data."""
    motion = modalities.models(ORDER, among=("tsn_rgbdiff", "tsn_flow"))
    rgb = modalities.cell(ORDER, "tsn_rgb")
    return Finding(
        modalities.experiment,
        "Modalities that hold motion give a TSN some of what its average forgets",
        published.MOTION,
        f"On order: {told({'tsn_rgb': rgb})}; {told(motion)}. What holds motion holds the order of neighbouring "
        f"frames, which one frame does not. {passed_the_ceiling(motion)}",
        all_of([above(cell, rgb) for cell in motion.values()]),
    )


def flow_knows_less_of_looks(modalities: Evidence) -> Finding:
    """Flow, and RGB differences, against RGB on the appearance data; who only guesses is named."""
    cells = modalities.models(APPEARANCE, among=SINGLE_MODALITIES)
    pairs = [(cells[rgb], cells[flow]) for rgb, flow in RGB_AND_FLOW if rgb in cells and flow in cells]
    if not pairs:
        raise MissingRowsError("no flow beside RGB")
    guessing = [model_name(name) for name, cell in cells.items() if _is_guessing(cell)]
    return Finding(
        modalities.experiment,
        "Where looks decide, flow alone knows less than RGB",
        (published.KINETICS_MODALITIES,),
        f"On appearance: {told(cells)}. Guesses among {len(CLASSES)} classes are right for {100 * CHANCE:.0f} %; no "
        f"better than that: {', '.join(guessing) or 'none of them'}.",
        all_of([above(rgb, flow) for rgb, flow in pairs]),
    )


def fusion_beats_rgb(data: str) -> Callable[[Evidence], Finding]:
    """The finding on fusions of modalities against RGB, on one data set."""

    def finding(modalities: Evidence) -> Finding:
        fused = {name: cell for name, cell in modalities.models(data).items() if FUSION_SIGN in name}
        pairs = {name: (cell, modalities.cell(data, _rgb_of(name))) for name, cell in fused.items()}
        if not pairs:
            raise MissingRowsError(f"no fusions on {data}")
        each = "; ".join(
            f"{model_name(name)} {cell}, {points(cell.mean - rgb.mean)} against {model_name(_rgb_of(name))} {rgb}"
            for name, (cell, rgb) in pairs.items()
        )
        return Finding(
            modalities.experiment,
            f"Fused with motion, RGB is better than alone, on {data_name(data)}",
            published.TWO_STREAM,
            f"{each}.",
            all_of([above(cell, rgb) for cell, rgb in pairs.values()]),
        )

    return finding


def _three(numbers: Sequence[int]) -> tuple[int, int, int]:
    """Of numbers of segments the fewest, the most up to `ENOUGH_SEGMENTS`, and the most."""
    middle = [number for number in numbers if number <= ENOUGH_SEGMENTS]
    if not middle or not middle[0] < middle[-1] < numbers[-1]:
        raise MissingRowsError(f"{len(numbers)} numbers of segments do not tell where accuracy saturates")
    return middle[0], middle[-1], numbers[-1]


def _cost(sampling: Evidence, data: str, model: str, variant: str) -> str:
    """What a choice of frames costs and gains; empty where it was not tested."""
    cells = sampling.variants(data, model)
    centre = cells["center"]
    if variant not in cells:
        return ""
    return f"{model_name(model)} on {data_name(data)}: {_change(cells[variant], centre)}"


def _time(sampling: Evidence, variant: str) -> str:
    """The share of the decoding time, over all data sets and models."""
    cells = [sampling.variants(data, model) for data in sampling.data() for model in sampling.models(data, "center")]
    pairs = [(own[variant].decode_ms, own["center"].decode_ms) for own in cells if variant in own]
    of_center = sum(center for _, center in pairs)
    return f"{sum(own for own, _ in pairs) / of_center:.2f}" if of_center else "an unknown share"


def _change(cell: Measured, centre: Measured) -> str:
    """With the deviation of both together, where there are seeds."""
    deviation = math.hypot(cell.deviation, centre.deviation)
    return points(cell.mean - centre.mean, deviation if cell.num_seeds > 1 else None)


def _is_guessing(cell: Measured) -> bool:
    """Whether an accuracy on the appearance data is above chance by less than counts."""
    return cell.mean - CHANCE <= ERRORS_THAT_COUNT * cell.standard_error


def _rgb_of(fused: str) -> str:
    """The member on RGB, which a fusion is held against: `tsn_rgb+flow` -> `tsn_rgb`."""
    return fused.partition(FUSION_SIGN)[0]
