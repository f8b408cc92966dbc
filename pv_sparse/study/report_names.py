"""What the report calls data sets, models and experiments that `results.json` names in short."""

ORDER, APPEARANCE, WALKING = "order20", "appearance20", "walking"
UNTRIMMED_ORDER, UNTRIMMED_APPEARANCE = "untrimmed_order", "untrimmed_appearance"
SPLICED = "spliced"
UNTRIMMED = (UNTRIMMED_APPEARANCE, UNTRIMMED_ORDER)
# Where one frame tells the class.
BY_LOOKS = (APPEARANCE, UNTRIMMED_APPEARANCE, SPLICED)

DATA = {
    ORDER: "order",
    APPEARANCE: "appearance",
    WALKING: "walking",
    UNTRIMMED_APPEARANCE: "long appearance",
    UNTRIMMED_ORDER: "long order",
    SPLICED: "spliced",
}
DATA_TEXTS = {
    ORDER: "Generated. The class is what happens: ten events and their twins, which show the same frames backwards. "
    "Whoever does not know the order of the frames can do no better than one half.",
    APPEARANCE: "Generated. The class is what is seen: a circle or a plus sign, plain or striped, in one of five "
    "colours, whichever way it moves.",
    WALKING: "Real. People who walk left or right, each clip also backwards with the other label; the tracks of the "
    "test are not those of the training.",
    UNTRIMMED_APPEARANCE: "Generated, one to four minutes. For 3 to 10 % of the time there is to be seen what tells "
    "the classes of appearance; the rest is grey shapes in other scenes. Models are those that were trained on "
    "appearance.",
    UNTRIMMED_ORDER: "The same with the events of order, and models that were trained on order.",
    SPLICED: "Real, one to four minutes. For 3 to 10 % of the time a clip of something else is to be seen; the rest is "
    "one footage of people who cross a yard, over and over; the camera stands still. The network is one for pictures, "
    "and was trained on none of these. The class of a clip is what it says of the clip alone, and a video is right "
    "where, of the classes of all clips, this one rises most above what the network says of the footage alone.",
}
MODELS = {
    "tsn_avg": "TSN average",
    "tsn_max": "TSN max",
    "tsn_topk": "TSN top-k",
    "tsn_attention": "TSN attention",
    "tsn_rgb": "TSN RGB",
    "tsn_rgbdiff": "TSN RGB difference",
    "tsn_flow": "TSN flow",
    "lstm": "LSTM",
    "gru": "GRU",
    "conv_lstm": "ConvLSTM",
    "trn": "TRN single-scale",
    "trn_multi_scale": "TRN multi-scale",
    "trn_rgb": "TRN RGB",
    "trn_rgbdiff": "TRN RGB difference",
    "trn_flow": "TRN flow",
    "tsn_rgb+rgbdiff": "TSN RGB + RGB difference",
    "tsn_rgb+flow": "TSN RGB + flow",
    "tsn_rgb+rgbdiff+flow": "TSN RGB + RGB difference + flow",
    "trn_rgb+rgbdiff": "TRN RGB + RGB difference",
    "trn_rgb+flow": "TRN RGB + flow",
    "trn_rgb+rgbdiff+flow": "TRN RGB + RGB difference + flow",
    "eco_lite": "ECO-Lite",
    "eco": "ECO",
    "eco_lite_4": "ECO-Lite 4 frames",
    "eco_lite_8": "ECO-Lite 8 frames",
    "eco_lite_12": "ECO-Lite 12 frames",
    "eco_ensemble": "ECO-Lite ensemble",
    "tsn_efficientnet_lite0": "TSN EfficientNet-Lite0",
}


def data_name(data: str) -> str:
    """For people; a data set that is not known here keeps its name."""
    return DATA.get(data, data)


def model_name(model: str) -> str:
    """For people; a model that is not known here keeps its name."""
    return MODELS.get(model, model)
