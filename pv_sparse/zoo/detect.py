"""What a checkpoint of an original holds, read from the names and shapes of its tensors.

The originals save neither the family nor the number of classes or segments. What names and shapes do not show cannot be
known, unless the file says it in words: BN-Inception with temporal shift (TSM), C2D and ResNets of the Caffe style look
like the TSNs that are here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pv_sparse.errors import WeightsError, one_line
from pv_sparse.transforms import NORMALIZATIONS
from pv_sparse.zoo.convert import ECO_CLASSIFIERS, TSN_CLASSIFIERS
from pv_sparse.zoo.detect_network import State, find_network
from pv_sparse.zoo.state_dicts import Checkpoint
from pv_sparse.zoo.weights import classes_told

# Networks that are not here, by the names of their tensors, and by what some files say in words.
OTHER_NETWORKS = re.compile(
    r"\.conv(1|1\.conv|\.0)\.net\.|\.layer\d\.(\d+\.)?(net|block|nl)\.|\.layer\d\.\d+\.non_local_block\."
)
OTHER_CONFIGS = re.compile(r"type='(C2D|ResNetTSM|MobileNetV2TSM|MobileOneTSM|ResNetTIN|TANet)'|style='caffe'")
MISSHAPEN = (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError)
TSN_SEGMENTS, ECO_SEGMENTS = 8, 16
OWN_INPUTS = {
    **dict.fromkeys(("bn_inception", "inception_v3_trn", "c3d"), "bn_inception"),
    "efficientnet_lite0": "efficientnet_lite",
}
SIZES = {"inception_v3_trn": (341, 299), "c3d": (128, 112)}


@dataclass(frozen=True)
class Layout:
    """How a file is laid out: the `converter` for it, and where its 2-D network is, `prefix`."""

    converter: str
    prefix: str


@dataclass(frozen=True)
class Stack:
    """What one input of the 2-D network is: its `modality`, the builder's `arguments` for it, and the sampler's."""

    modality: str
    arguments: dict[str, int]
    sampling: dict[str, int]


def describe(checkpoint: Checkpoint, path: str) -> dict[str, Any]:
    """The record (`Weights.from_record`) of an original's file.

    Raises:
        WeightsError: names of tensors that no original has, or networks that are not here.
    """
    state = checkpoint.state
    try:
        _check_words(checkpoint.about)
        layout = _layout(state)
        backbone, in_channels = find_network(state, layout.prefix)
        stack = _stack(in_channels, checkpoint.about)
        build = _build(state, layout, backbone, stack, checkpoint.about)
    except (WeightsError, *MISSHAPEN) as error:
        reason = error if isinstance(error, WeightsError) else f"tensors are missing, or misshapen ({one_line(error)})"
        raise WeightsError(
            f"{path}: {reason}; files of tsn-pytorch, TRN-pytorch, ECO-pytorch, mmaction2, EPIC-KITCHENS' models and "
            "of save_model are read"
        ) from error
    noted = checkpoint.about.get("segment_count")
    segments = build["arguments"].get("num_segments", noted if isinstance(noted, int) else TSN_SEGMENTS)
    return {
        "description": _told(build, layout, backbone, stack),
        "build": build,
        "origin": {"converter": layout.converter, "license": "unstated"},
        "sampler": {"rule": "center", "num_segments": 1 if layout.prefix == "" else segments, **stack.sampling},
        "input": _input(layout, backbone, stack),
        "categories": _numbered(build["arguments"]["num_classes"]),
    }


def _check_words(about: Mapping[str, Any]) -> None:
    """What names and shapes cannot tell, where the file says it in words."""
    kind, meta = str(about.get("model_type")), about.get("meta")
    if kind.startswith("tsm"):
        raise WeightsError(f"it says that it is a {kind}, and temporal shift is not here")
    consensus = about.get("consensus_type", "avg")
    if str(consensus).lower() not in ("avg", "max", "trn", "trnmultiscale"):
        raise WeightsError(f"it says that its segments agree by {consensus!r}: avg and max are here")
    config = str(meta.get("config") or meta.get("cfg")) if isinstance(meta, Mapping) else ""
    found = OTHER_CONFIGS.search(config)
    if found:
        raise WeightsError(f"its configuration says {found[0]}, which is not here")


def _layout(state: State) -> Layout:
    known = (
        ("cls_head.fc_cls.weight", Layout("mmaction2", "backbone.")),
        ("base_model.res3a_2.weight", Layout("eco_pytorch", "base_model.")),
        ("fc_verb.weight", Layout("epic", "base_model.")),
        ("consensus.pre_classifier.1.weight", Layout("epic", "base_model.")),
        ("consensus.classifiers.0.0.weight", Layout("epic", "base_model.")),
        ("consensus.classifier.1.weight", Layout("trn_pytorch", "base_model.")),
        ("consensus.fc_fusion_scales.0.1.weight", Layout("trn_pytorch", "base_model.")),
        ("conv1_7x7_s2.weight", Layout("bare_caffe", "")),
        ("conv_Conv2D.weight", Layout("bare_caffe", "")),
        ("_conv_stem.weight", Layout("efficientnet_lite0", "")),
        ("layer1.0.conv1.weight", Layout("torchvision", "")),
    )
    if any(OTHER_NETWORKS.search(key) for key in state):
        raise WeightsError("it holds a network with temporal shift or non-local blocks (TSM, TANet), which is not here")
    for key, layout in known:
        if key in state:
            return layout
    if any(key.startswith("base_model.") for key in state):
        return Layout("tsn_pytorch", "base_model.")
    if any(key.startswith("features.") for key in state):
        raise WeightsError("it is a network of torchvision alone: give it as backbone_weights= to a builder")
    raise WeightsError(f"its tensors, such as {next(iter(state))!r}, are named as in none of the originals")


def _stack(channels: int, about: Mapping[str, Any]) -> Stack:
    """Flow and RGB difference are stacks of 5, unless an EPIC file says that its flow is of others."""
    unsaid = channels // 2 if about.get("modality") == "Flow" else 5
    length = getattr(about.get("args"), "flow_length", None) or unsaid
    known = {
        3: Stack("rgb", {}, {}),
        2 * length: Stack("flow", {"in_channels": 2, "frames_per_segment": length}, {"frames_per_segment": length}),
        15: Stack("rgbdiff", {"frames_per_segment": 5}, {"frames_per_segment": 6}),  # differences of 6 frames
    }
    if channels not in known:
        raise WeightsError(f"its first convolution takes {channels} channels: RGB has 3, flow 10, RGB difference 15")
    return known[channels]


def _build(state: State, layout: Layout, backbone: str, stack: Stack, about: Mapping[str, Any]) -> dict[str, Any]:
    if backbone == "c3d":
        return {"builder": "C3DResNet18", "arguments": {"num_classes": _rows(state, *ECO_CLASSIFIERS)}}
    arguments: dict[str, Any] = {"backbone": backbone, **stack.arguments}
    if layout.converter == "mmaction2" and backbone.startswith("densenet"):
        arguments["taps"] = ["features.norm5"]  # mmaction2 leaves out torchvision's last ReLU
    if layout.converter == "eco_pytorch":
        arguments |= {"num_classes": _rows(state, *ECO_CLASSIFIERS), "num_segments": ECO_SEGMENTS}
        is_full = "base_model.inception_5b_1x1.weight" in state
        return {"builder": "create_eco" if is_full else "create_eco_lite", "arguments": arguments}
    relations = _relation_layers(state)
    if not relations:
        own = {"fusion": "features"} if layout.converter == "mmaction2" else {}
        own |= {"consensus": "max"} if about.get("consensus_type") == "max" else {}
        return {"builder": "create_tsn", "arguments": arguments | {"num_classes": _tsn_classes(state)} | own}
    hidden = state[f"{relations[0]}.1.weight"]
    features = len(state[_present(state, "cls_head.fc_cls", "new_fc", "base_model.fc", "base_model.top_cls_fc")])
    arguments |= {"num_classes": _trn_classes(state, relations[0]), "num_segments": hidden.shape[1] // features}
    sizes = {"multi_scale": len(relations) > 1, "features": features, "hidden": len(hidden)}
    defaults = {"multi_scale": True, "features": 256, "hidden": 256 if len(relations) > 1 else 512}
    chosen = {name: size for name, size in sizes.items() if size != defaults[name]}
    return {"builder": "create_trn", "arguments": arguments | chosen}


def _relation_layers(state: State) -> list[str]:
    """The places of the hidden layers, the largest scale first; none in a TSN."""
    for home in ("consensus.", "cls_head.consensus."):
        scales = {m[1] for key in state if (m := re.match(rf"{re.escape(home)}fc_fusion_scales\.(\d+)\.", key))}
        if scales:
            return [f"{home}fc_fusion_scales.{number}" for number in sorted(scales, key=int)]
        for single in ("classifier", "pre_classifier"):
            if f"{home}{single}.1.weight" in state:
                return [f"{home}{single}"]
    return []


def _tsn_classes(state: State) -> int | dict[str, int]:
    if "fc_verb.weight" in state:
        return {task: len(state[f"fc_{task}.weight"]) for task in ("verb", "noun")}
    bare = ("fc", "last_linear", "top_cls_fc", "_fc")
    present = [name for name in (*TSN_CLASSIFIERS, "cls_head.fc_cls", *bare) if f"{name}.weight" in state]
    if not present:
        raise WeightsError("it is a backbone without a classifier: give it as backbone_weights= to a builder")
    return len(state[f"{present[0]}.weight"])


def _trn_classes(state: State, relation: str) -> int | dict[str, int]:
    if f"{relation}.3.weight" in state:
        return len(state[f"{relation}.3.weight"])
    home = "consensus.classifiers" + (".0" if "fc_fusion_scales" in relation else "")
    counts = [len(state[f"{home}.{number}.weight"]) for number in (0, 1) if f"{home}.{number}.weight" in state]
    if not counts or f"{home}.2.weight" in state:
        raise WeightsError("its relations have more than two classifiers, or none that is known here")
    return counts[0] if len(counts) == 1 else dict(zip(("verb", "noun"), counts, strict=True))


def _rows(state: State, *layers: str) -> int:
    return len(state[_present(state, *layers)])


def _present(state: State, *layers: str) -> str:
    return next((key for layer in layers if (key := f"{layer}.weight") in state), f"{layers[0]}.weight")


def _input(layout: Layout, backbone: str, stack: Stack) -> dict[str, Any]:
    own = OWN_INPUTS.get(backbone, "mmaction2" if layout.converter == "mmaction2" else "imagenet")
    own_flow = f"{own}_flow" if f"{own}_flow" in NORMALIZATIONS else "imagenet_flow"
    wanted = NORMALIZATIONS[own_flow if stack.modality == "flow" else own]
    resize, crop = SIZES.get(backbone, (256, 224))
    return {"resize": resize, "crop": crop, **vars(wanted)}


def _numbered(classes: int | Mapping[str, int]) -> Any:
    if isinstance(classes, int):
        return [f"class {number}" for number in range(classes)]
    return {task: _numbered(count) for task, count in classes.items()}


def _told(build: Mapping[str, Any], layout: Layout, backbone: str, stack: Stack) -> str:
    arguments, name = build["arguments"], build["builder"].removeprefix("create_")
    if name == "trn":
        name += f" of {'all scales' if arguments.get('multi_scale', True) else 'one scale'}"
    segments = f", {arguments['num_segments']} segments" if "num_segments" in arguments else ""
    segments += " assumed" if layout.converter == "eco_pytorch" and segments else ""
    told = (name, backbone, f"{stack.modality}{segments}", classes_told(arguments["num_classes"]))
    return f"{', '.join(told)} (layout: {layout.converter})"
