"""The scorer of looks that some weights bring along, and the selector that it makes."""

from pathlib import Path

from pv_sparse.data.selectors import SALIENCY, SALIENCY_EVEN_SHARE, Saliency
from pv_sparse.errors import WeightsError
from pv_sparse.models.selection import LookScorer
from pv_sparse.zoo import files
from pv_sparse.zoo.loading import SCORER_PREFIX, find_weights
from pv_sparse.zoo.state_dicts import load_exactly, read_state_dict
from pv_sparse.zoo.weights import Weights


def load_selector(
    name_or_path: str | Path | Weights, even_share: float = SALIENCY_EVEN_SHARE, progress: bool = True
) -> Saliency:
    """Chooses frames as the scorer that comes with these weights says: for `select=` of samplers and recognisers.

    Args:
        name_or_path: as of `load_model`.
        even_share: as of `Saliency`.
        progress: whether a download shows a bar.

    Raises:
        WeightsError: weights without a scorer, or whose file cannot be had.
        ValueError: an `even_share` outside of [0, 1].
    """
    weights = name_or_path if isinstance(name_or_path, Weights) else find_weights(name_or_path, progress)
    return Saliency(load_scorer(weights, progress), even_share, weights.scorer["num_looks"])


def load_scorer(weights: Weights, progress: bool = True) -> LookScorer:
    """In eval mode, on the CPU; errors as of `load_selector`."""
    if not weights.scorer:
        raise WeightsError(
            f"{weights.name} has no scorer of looks, so that select={SALIENCY!r} cannot be: choose motion or diverse, "
            "or train one: pv-sparse train +select=saliency"
        )
    scorer = empty_scorer(weights)
    state = read_state_dict(files.require(weights.file, weights.name, progress))
    own = {key.removeprefix(SCORER_PREFIX): value for key, value in state.items() if key.startswith(SCORER_PREFIX)}
    load_exactly(scorer, own, weights.name, "its scorer of looks")
    return scorer.eval()


def empty_scorer(weights: Weights) -> LookScorer:
    """That which `weights.scorer` describes, with random weights; `WeightsError` for what describes none."""
    arguments = dict(weights.scorer)
    try:
        num_looks = arguments.pop("num_looks")
        if num_looks < 1:
            raise ValueError(f"num_looks={num_looks} is not allowed: it must be at least 1")
        return LookScorer(**arguments)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{weights.name}: the record of its scorer of looks is not whole ({error})") from error
