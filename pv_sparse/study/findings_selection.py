"""Findings on chosen frames: what they are worth in long videos, and whether they do harm in short ones."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pv_sparse.study import findings_published as published
from pv_sparse.study.findings_record import Evidence, Finding, MissingRowsError, aim, points
from pv_sparse.study.report_cells import A_POINT, ROUNDING, Measured, above, all_of
from pv_sparse.study.report_names import APPEARANCE, ORDER, SPLICED, UNTRIMMED, data_name, model_name
from pv_sparse.study.spliced import VIDEOS_OF_A_CLIP

EVEN, SALIENCY, UNTRAINED = "even", "saliency", ("motion", "diverse")
FEWER_LOOKS = "saliency of 32 looks"
FEW, MANY = 8, 32
GAIN = 0.15
COST_SHARE = 0.5


class Chosen(NamedTuple):
    """The cells of one model on one data set, by variant."""

    data: str
    model: str
    cells: Mapping[str, Measured]

    @property
    def name(self) -> str:
        return f"{model_name(self.model)} on {data_name(self.data)}"


def choice_of(variant: str) -> tuple[str, int]:
    """`saliency 8` -> ("saliency", 8)."""
    selector, number = variant.rsplit(" ", 1)
    return selector, int(number)


def chosen_frames_find_the_event(selection: Evidence) -> Finding:
    """The trained scorer against even frames, as many of them, in long videos."""
    pairs = {own.name: _pair(own, SALIENCY, EVEN, FEW) for own in _all(selection, UNTRIMMED)}
    told = "; ".join(
        f"{name} {even}, chosen {chosen}, {points(chosen.mean - even.mean)}" for name, (chosen, even) in pairs.items()
    )
    reached = all(chosen.mean - even.mean >= GAIN - ROUNDING for chosen, even in pairs.values())
    return Finding(
        selection.experiment,
        "Where the event is short, a trained scorer of cheap looks finds it",
        (published.SALIENT_CLIPS,),
        f"Of {FEW} frames, evenly spread: {told}. " + aim(reached, f"{100 * GAIN:.0f} points or more"),
        all_of([above(chosen, even) for chosen, even in pairs.values()]),
    )


def few_chosen_frames_are_as_good_as_many(selection: Evidence) -> Finding:
    """Eight chosen frames against 32 even ones, in accuracy and in CPU time, where a model takes any number."""
    told, reached = [], []
    for own in _all(selection, UNTRIMMED):
        many = own.cells.get(f"{EVEN} {MANY}")
        shares = {name: own.cells[f"{name} {FEW}"] for name in (SALIENCY, FEWER_LOOKS) if f"{name} {FEW}" in own.cells}
        if many and shares:
            costs = [
                f"{name} {own}, at {own.cpu_ms / many.cpu_ms:.2f} of their CPU time" for name, own in shares.items()
            ]
            told.append(f"{own.name}: {MANY} even ones {many}; {', '.join(costs)}")
            reached.append(any(_is_as_good_for_half(chosen, many) for chosen in shares.values()))
    if not told:
        raise MissingRowsError(f"no {MANY} even frames beside {FEW} chosen ones")
    return Finding(
        selection.experiment,
        f"{FEW} chosen frames are as good as {MANY} even ones, and cost less",
        (published.SALIENT_CLIPS,),
        f"{'. '.join(told)}. The network is the smallest there is, and pictures have 96x96 pixels: decoding "
        "the looks is most of what choosing costs. " + aim(all(reached), "within a point, for at most half of it"),
        all(reached),
    )


def selectors_without_training(selection: Evidence) -> Finding:
    """What bytes and differing pictures tell, in long videos."""
    told = [
        f"{own.name}, {selector}: {points(chosen.mean - even.mean)}"
        for own in _all(selection, UNTRIMMED)
        for selector in UNTRAINED
        for chosen, even in [_pair(own, selector, EVEN, FEW)]
    ]
    return Finding(
        selection.experiment,
        "What selectors find that were not trained",
        (),
        f"Of {FEW} frames, against even ones: {'; '.join(told)}. In these videos something moves all the time, and "
        "scenes that mean nothing differ as much as the event does.",
        None,
    )


def chosen_frames_do_no_harm(selection: Evidence) -> Finding:
    """All selectors in short videos, where there is nothing to be gained."""
    pairs = {
        f"{own.name}, {selector}": _pair(own, selector, EVEN, FEW)
        for own in _all(selection, (APPEARANCE, ORDER))
        for selector in (*UNTRAINED, SALIENCY)
    }
    told = "; ".join(f"{name} {points(chosen.mean - even.mean)}" for name, (chosen, even) in pairs.items())
    reached = all(chosen.mean >= even.mean - A_POINT - ROUNDING for chosen, even in pairs.values())
    return Finding(
        selection.experiment,
        "What chosen frames cost in short videos",
        (),
        f"Of {FEW} frames, against even ones: {told}. " + aim(reached, "never more than a point below"),
        None,
    )


def chosen_frames_of_real_videos(spliced: Evidence) -> Finding:
    """Selectors that were not trained, and a network that was trained on pictures, in long real videos."""
    (own,) = _all(spliced, (SPLICED,))
    pairs = {selector: _pair(own, selector, EVEN, FEW) for selector in UNTRAINED}
    even, many = own.cells[f"{EVEN} {FEW}"], own.cells.get(f"{EVEN} {MANY}")
    if many is None:
        raise MissingRowsError(f"no {MANY} even frames beside {FEW} chosen ones")
    gains = "; ".join(f"{name} {chosen}, {points(chosen.mean - even.mean)}" for name, (chosen, _) in pairs.items())
    costs = ", ".join(f"{name} {chosen.cpu_ms:.0f}" for name, (chosen, _) in pairs.items())
    counts = [name for name, (chosen, _) in pairs.items() if above(chosen, even)]
    num_clips = even.num_videos // VIDEOS_OF_A_CLIP
    return Finding(
        spliced.experiment,
        "What chosen frames bring in real videos, where nothing is trained",
        (),
        f"Of {FEW} frames, evenly spread {even}; {gains}. More than other draws would change: "
        f"{' and '.join(counts) or 'none of them'}. {MANY} even frames {many}. CPU ms of a video: {FEW} even frames "
        f"{even.cpu_ms:.0f}, {costs}, {MANY} even frames {many.cpu_ms:.0f}. The set is small: {even.num_videos} videos "
        f"a seed, {even.num_videos * even.num_seeds} in all, {VIDEOS_OF_A_CLIP} a seed of each of {num_clips} clips, "
        f"so that 1 of {num_clips} is chance; and one calm footage, from which clips stand out. That choosing can "
        "bring this much is all it says, not that it does so with other clips and other footage.",
        None,
    )


def _is_as_good_for_half(chosen: Measured, many: Measured) -> bool:
    return chosen.mean >= many.mean - A_POINT - ROUNDING and chosen.cpu_ms <= COST_SHARE * many.cpu_ms


def _all(selection: Evidence, data: tuple[str, ...]) -> list[Chosen]:
    """Those that there are, at least one."""
    found = list(_found(selection, data))
    if not found:
        raise MissingRowsError(f"no rows of {', '.join(data)}")
    return found


def _found(selection: Evidence, data: tuple[str, ...]) -> Iterator[Chosen]:
    for name in data:
        if name in selection.data():
            for model in selection.models(name, f"{EVEN} {FEW}"):
                yield Chosen(name, model, selection.variants(name, model))


def _pair(own: Chosen, first: str, second: str, number: int) -> tuple[Measured, Measured]:
    names = (f"{first} {number}", f"{second} {number}")
    lacking = [name for name in names if name not in own.cells]
    if lacking:
        raise MissingRowsError(f"no rows of {own.name}, {lacking[0]}")
    return own.cells[names[0]], own.cells[names[1]]
