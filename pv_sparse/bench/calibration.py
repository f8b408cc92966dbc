"""How far scores can be believed: a temperature fitted on held-out videos, and the error that is left."""

import torch
from torch import Tensor

# Beyond these bounds a fit says that there was nothing to fit: all answers are right, or none has to do with the video.
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.05, 20.0
HALVINGS = 40
NUM_BINS = 15


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The number that logits are divided by so that the right classes are the likeliest.

    The mean negative log-likelihood is convex in the inverse temperature: its slope is halved to zero. Guo et al., "On
    Calibration of Modern Neural Networks", ICML 2017, section 4.2; they search by L-BFGS.

    Args:
        logits: (N, num_classes), N at least 1.
        labels: (N,) int64, the right classes.

    Returns:
        From 0.05 to 20, the same for the same logits.

    Raises:
        ValueError: no logits.
    """
    if not len(logits):
        raise ValueError("no logits were given: a temperature needs those of at least one video")
    logits = logits.double()
    right = logits.gather(1, labels[:, None])[:, 0].mean()
    low, high = LEAST_TEMPERATURE, MOST_TEMPERATURE
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        expected = ((logits / middle).softmax(dim=1) * logits).sum(dim=1).mean()
        low, high = (middle, high) if expected > right else (low, middle)
    return round((low * high) ** 0.5, 4)


def expected_calibration_error(logits: Tensor, labels: Tensor, temperature: float = 1.0) -> float:
    """How far confidence and the share of right answers lie apart, in [0, 1]: over 15 bins of confidence, the mean.

    Guo et al., section 2: bins of equal width, each counted by its answers.

    Args:
        logits: (N, num_classes), N at least 1.
        labels: (N,) int64, the right classes.
        temperature: that logits are divided by.
    """
    confidences, answers = (logits.double() / temperature).softmax(dim=1).max(dim=1)
    gaps = confidences - (answers == labels).double()
    bins = (confidences * NUM_BINS).ceil().long() - 1
    sums = torch.zeros(NUM_BINS, dtype=torch.float64).index_add_(0, bins.clamp(0, NUM_BINS - 1), gaps)
    return float(sums.abs().sum() / len(logits))
