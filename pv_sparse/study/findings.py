"""All findings of a study, each a pure function of its rows, beside what was published on the same question."""

from collections.abc import Callable

from pv_sparse.study import findings_published as published
from pv_sparse.study.findings_heads import (
    average_is_enough,
    eco_is_at_or_above_trn,
    ensemble_beats_its_members,
    many_scales_beat_one,
)
from pv_sparse.study.findings_input import (
    cheap_frames,
    flow_knows_less_of_looks,
    fusion_beats_rgb,
    more_segments_in_the_test,
    motion_alone_sees_the_order,
    segments_saturate,
)
from pv_sparse.study.findings_record import Evidence, Finding, MissingRowsError
from pv_sparse.study.findings_selection import (
    chosen_frames_do_no_harm,
    chosen_frames_find_the_event,
    chosen_frames_of_real_videos,
    few_chosen_frames_are_as_good_as_many,
    selectors_without_training,
)
from pv_sparse.study.findings_time import (
    heads_are_close_on_appearance,
    recurrent_heads,
    relations_tell_twins,
    reversing_shows_the_twin,
    shuffling_leaves_appearance,
    shuffling_takes_the_order,
    tsn_cannot_tell_twins,
    walking_needs_a_grid,
)
from pv_sparse.study.report_cells import measured
from pv_sparse.study.report_names import APPEARANCE, ORDER
from pv_sparse.study.results import Results

# By experiment, in the order of the report.
RULES: dict[str, tuple[Callable[[Evidence], Finding], ...]] = {
    "study_fusion": (
        tsn_cannot_tell_twins,
        relations_tell_twins,
        recurrent_heads,
        heads_are_close_on_appearance,
        average_is_enough,
        many_scales_beat_one,
        eco_is_at_or_above_trn,
    ),
    "study_time_order": (shuffling_takes_the_order, shuffling_leaves_appearance, reversing_shows_the_twin),
    "study_segments": (
        segments_saturate("tsn_avg", published.SEGMENTS_TSN),
        segments_saturate("trn_multi_scale", (published.SEGMENTS_TRN,)),
        segments_saturate("eco_lite", (published.SEGMENTS_ECO,)),
        more_segments_in_the_test,
    ),
    "study_sampling": (
        cheap_frames("keyframe", "What keyframes cost, and what they save"),
        cheap_frames("decode budget", "What a decode budget costs, and what it saves"),
        cheap_frames("motion", "What segments of equal motion cost, and what they save"),
    ),
    "study_grid": (walking_needs_a_grid,),
    "study_ensemble": (ensemble_beats_its_members,),
    "study_modalities": (
        motion_alone_sees_the_order,
        flow_knows_less_of_looks,
        fusion_beats_rgb(ORDER),
        fusion_beats_rgb(APPEARANCE),
    ),
    "study_selection": (
        chosen_frames_find_the_event,
        few_chosen_frames_are_as_good_as_many,
        selectors_without_training,
        chosen_frames_do_no_harm,
    ),
    "study_spliced": (chosen_frames_of_real_videos,),
}


def all_findings(results: Results) -> list[Finding]:
    """Those that the rows suffice for; the others are left out."""
    cells = measured(results)
    found = [_found(rule, Evidence(cells, experiment)) for experiment, rules in RULES.items() for rule in rules]
    return [finding for finding in found if finding]


def _found(rule: Callable[[Evidence], Finding], evidence: Evidence) -> Finding | None:
    try:
        return rule(evidence)
    except MissingRowsError:
        return None
