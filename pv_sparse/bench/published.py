"""The speeds of ECO's paper: Zolfaghari et al., "ECO: Efficient Convolutional Network for Online Video Understanding".

The paper, of ECCV 2018, could not be read for this: the figures are recalled. Issue 53 of the original's repository,
mzolfaghari/ECO-efficient-video-understanding, quotes those in `CONFIRMED` (and finds a tenth of them with ECO-pytorch
on such a card). Of the others, the P100's agree with the 675 and 970 frames a second that others quote, and the largest
with the "up to 230 videos per second" of the abstract.
"""

from collections.abc import Mapping

CARDS = ("Titan X", "Tesla P100")
# Videos a second on `CARDS`, by network and frames of a video.
PUBLISHED: Mapping[tuple[str, int], tuple[float, float]] = {
    ("ECO", 4): (99.2, 163.4),
    ("ECO", 8): (49.5, 81.5),
    ("ECO", 16): (24.5, 41.7),
    ("ECO", 32): (12.3, 20.8),
    ("ECO-Lite", 4): (142.9, 237.3),
    ("ECO-Lite", 8): (71.1, 115.9),
    ("ECO-Lite", 16): (35.3, 61.0),
    ("ECO-Lite", 32): (18.2, 30.2),
}
CONFIRMED = frozenset({("ECO-Lite", 4, "Titan X"), ("ECO-Lite", 16, "Titan X")})
UNCHECKED = "?"
NOTES = (
    "The networks are built without weights: what they cost does not depend on their values.",
    f"{', '.join(CARDS)}: videos/s published by Zolfaghari et al., ECCV 2018, the network alone, their batch size not "
    f"known here. {UNCHECKED} recalled, unchecked.",
)


def published(network: str, frames: int) -> dict[str, float]:
    """Videos a second by card; empty for what the paper does not have."""
    return dict(zip(CARDS, PUBLISHED.get((network, frames), ()), strict=False))


def unchecked(network: str, frames: int) -> tuple[str, ...]:
    """The cards whose figure is recalled, and confirmed by nobody."""
    return tuple(card for card in published(network, frames) if (network, frames, card) not in CONFIRMED)
