"""What was published on what the study looks at, and where: the figures that its findings are held against.

`checked` figures were read where `source` says. The others are recalled from the papers, which could not be read for
this, and the report says so.
"""

from dataclasses import dataclass

TSN, TSN_TPAMI, TRN, ECO = "TSN, ECCV 2016", "TSN, TPAMI 2018", "TRN, ECCV 2018", "ECO, ECCV 2018"
SCSAMPLER = "SCSampler, ICCV 2019"
REFERENCES = {
    TSN: "Wang et al., Temporal Segment Networks: Towards Good Practices for Deep Action Recognition, ECCV 2016",
    TSN_TPAMI: "Wang et al., Temporal Segment Networks for Action Recognition in Videos, TPAMI 2018",
    TRN: "Zhou et al., Temporal Relational Reasoning in Videos, ECCV 2018",
    ECO: "Zolfaghari et al., ECO: Efficient Convolutional Network for Online Video Understanding, ECCV 2018",
    SCSAMPLER: "Korbar et al., SCSampler: Sampling Salient Clips from Video for Efficient Action Recognition, "
    "ICCV 2019",
}
MMACTION2 = "mmaction2 1.x"
LISTING = "as listed by paperswithcode"


@dataclass(frozen=True)
class Published:
    """A published figure or statement.

    Attributes:
        text: what it says, accuracies in % top-1.
        source: where.
        checked: read there; else recalled, and confirmed by nobody.
    """

    text: str
    source: str
    checked: bool = True


SOMETHING_V2 = Published("Something-Something v2, ResNet-50, 8 segments: TSN 35.51, TRN 47.65", MMACTION2)
JESTER = Published("Jester, gestures: TRN 95.31 (validation)", f"{TRN}, {LISTING}")
KINETICS_AND_SOMETHING = (
    Published("Kinetics, ResNet-50, 8 frames: TSN 70.6, TSM, which knows the order, 74.1", "TSM, repository"),
    SOMETHING_V2,
)
SHUFFLED_ORDER = Published(
    "Something-Something: on shuffled frames TRN loses much of its accuracy (direction only)", TRN, checked=False
)
SHUFFLED_APPEARANCE = Published(
    "UCF101: on shuffled frames TRN loses hardly anything (direction only)", TRN, checked=False
)
CONSENSUS = Published(
    "UCF101: the average over segments is better than the maximum, and weights that are learnt are close to it "
    "(direction only)",
    TSN,
    checked=False,
)
SEGMENTS_TSN = (
    Published("Kinetics-400, ResNet-50, trained on 3, 5 and 8 segments, tested on 25: 72.83, 73.80, 74.12", MMACTION2),
    Published("More segments help, and saturate near 7 to 9 (direction only)", TSN_TPAMI, checked=False),
)
SEGMENTS_TRN = Published(
    "Something-Something v1, TRN of 2, 3, 4, 5 and 7 frames: 22.23, 26.22, 29.83, 30.39, 31.01", TRN, checked=False
)
SEGMENTS_ECO = Published("Kinetics-400, ECO of 4, 8, 16 and 32 frames: 66.2, 67.8, 69.0, 67.8", ECO, checked=False)
MORE_SEGMENTS_IN_TEST = Published(
    "Trained on 3 segments, tested on 25: the protocol of its authors (direction only)", "tsn-pytorch, repository"
)
MULTI_SCALE = Published("Something-Something v1: one scale of 7 frames 31.01, multi-scale 33.01", TRN, checked=False)
ECO_AND_TRN = (
    Published("Something-Something v1: multi-scale TRN 34.4", f"{TRN}, {LISTING}"),
    Published("Something-Something v1, 16 frames: ECO 41.4, ECO-Lite 42.2", ECO, checked=False),
)
ENSEMBLE = (
    Published("Something-Something v1: the ensemble of ECO 46.4", f"{ECO}, {LISTING}"),
    Published("Something-Something v1, 16 frames: ECO 41.4 alone", ECO, checked=False),
)
KINETICS_MODALITIES = Published(
    "Kinetics, BNInception: RGB 69.1, flow 62.1, both 73.9", "TSN's authors, page on Kinetics"
)
TWO_STREAM = (
    KINETICS_MODALITIES,
    Published("Something-Something v1: TRN 34.4 on RGB, 42.01 with flow", f"{TRN}, {LISTING}"),
)
MOTION = (
    Published("UCF101, split 1, BNInception: RGB 86.4, flow 87.7", "mmaction 0.1, model zoo"),
    Published("UCF101: 91.0 with RGB differences in place of flow, at 340 frames a second", TSN_TPAMI),
)
SALIENT_CLIPS = Published(
    "Sports-1M: on clips that a light scorer chose a classifier is better by 7 %, at less than a fifteenth of the cost",
    f"{SCSAMPLER}, abstract",
)
