"""From the state dicts of the originals to ours: a literal table of names a converter; what it lacks is refused.

A converter says, for the keys of our model, what they are called there. So every tensor of ours has to be found, and
every tensor of theirs has to be used, or be among the few that are known to be of no use.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping

import torch
from torch import Tensor

from pv_sparse.errors import WeightsError
from pv_sparse.zoo.layer_names import (
    C3D_BLOCKS,
    ECO_BLOCKS,
    TIMM_SWIN,
    Prefixes,
    caffe_layer,
    conv_and_norm,
    mmaction2_resnet_layer,
    mobilenet_v2_layer,
    net3d,
    swin_layer,
)
from pv_sparse.zoo.state_dicts import StateDict


def convert(
    state: Mapping[str, Tensor],
    converter: str | None,
    our_keys: Collection[str],
    optional: re.Pattern[str] | None = None,
    may_hold_more: bool = False,
) -> StateDict:
    """The tensors of `state` under our keys.

    Args:
        state: as read from the file. A `module.` before every key (of DataParallel) does not matter.
        converter: a name in `CONVERTERS`; None where the keys are ours.
        our_keys: those of the model, or of its backbone. Constants that follow from sizes alone are not looked for.
        optional: those of our keys that may be missing there; they are then missing here.
        may_hold_more: whether `state` may have keys that none of ours asks for.

    Raises:
        WeightsError: names the first key that the converter does not know, or that is missing.
    """
    theirs = {key.removeprefix("module."): tensor for key, tensor in state.items()}
    if converter is None:
        return theirs
    names = key_map(converter, [key for key in our_keys if not DERIVED.search(key)], theirs)
    used = set(names.values())
    unknown = [] if may_hold_more else [key for key in theirs if key not in used and not UNUSED.fullmatch(key)]
    if unknown:
        raise WeightsError(f"the key {unknown[0]!r} ({len(unknown)} such) is unknown to the converter {converter}")
    absent = {ours for ours, name in names.items() if name not in theirs and optional and optional.search(ours)}
    return {ours: _tensor(ours, theirs, name, names) for ours, name in names.items() if ours not in absent}


def key_map(converter: str, our_keys: Collection[str], their_keys: Collection[str]) -> dict[str, str]:
    """Our keys -> theirs. `their_keys` decide only where the originals have two names for one thing."""
    return CONVERTERS[converter](our_keys, their_keys)


def _tensor(ours: str, theirs: Mapping[str, Tensor], name: str, names: Mapping[str, str]) -> Tensor:
    """Files from before PyTorch 0.4 hold BN as (1, C), and no counter of batches.

    Relations are (hidden, s * features) there, (s, features, hidden) here (`TupleLinear`).
    """
    layer, _, field = ours.rpartition(".")
    if name not in theirs and field == "num_batches_tracked":
        return torch.tensor(0)
    if name not in theirs:
        raise WeightsError(f"the key {name!r}, for {ours}, is missing")
    tensor = theirs[name]
    is_norm = f"{layer}.running_mean" in names
    if is_norm and tensor.ndim == 2:
        return tensor.reshape(-1)
    scale = RELATION_WEIGHT.fullmatch(ours)
    return tensor.t().reshape(int(scale[1]), -1, len(tensor)) if scale else tensor


# The converters


def _tsn_pytorch(our_keys: Collection[str], their_keys: Collection[str]) -> dict[str, str]:
    """yjxiong/tsn-pytorch, and the TSN of mit-han-lab/temporal-shift-module."""
    last = (f"{name}." for name in TSN_CLASSIFIERS)
    names = _wrapped(our_keys, {"head.fc.": _classifier(their_keys, *last)})
    if FLAT_MOBILENET not in their_keys:
        return names
    return {ours: mobilenet_v2_layer(theirs) for ours, theirs in names.items()}


def _trn_pytorch(our_keys: Collection[str], their_keys: Collection[str]) -> dict[str, str]:
    """zhoubolei/TRN-pytorch. Without dropout the projection is the backbone's last layer there."""
    project = _classifier(their_keys, "new_fc.", "base_model.fc.", "base_model.top_cls_fc.")
    return _wrapped(our_keys, {"head.project.": project} | _relations(our_keys, their_keys, "consensus."))


def _eco_pytorch(our_keys: Collection[str], their_keys: Collection[str]) -> dict[str, str]:
    """mzolfaghari/ECO-pytorch: ECO, ECO-Lite and C3DRes18. The classifier's name depends on its dropout option."""
    fc = _classifier(their_keys, *(f"{name}." for name in ECO_CLASSIFIERS))
    is_c3d = "net.res2a.conv1.weight" in our_keys
    blocks, ours = (C3D_BLOCKS, "") if is_c3d else (ECO_BLOCKS, "head.")
    return _wrapped(our_keys, {f"{ours}fc.": fc} | net3d(blocks, f"{ours}net.", "base_model."))


def _epic(our_keys: Collection[str], their_keys: Collection[str]) -> dict[str, str]:
    """epic-kitchens/action-models, TSN, TRN and MTRN, for the tasks `verb` and `noun`, or TRN and MTRN for one task.

    MTRN reads scale index i >= 1 by the classifier of index i - 1, index 0 by classifier 0, and the last classifier
    never. Here each scale gets the classifier that it is read by there: the logits are the same; in fine-tuning, the
    two largest scales no longer share theirs.
    """
    tasks = {"verb": 0, "noun": 1}
    prefixes = {"head.project.": "new_fc."} | {f"head.fc.{task}.": f"fc_{task}." for task in tasks}
    scales = _scales(our_keys)
    for index, scale in enumerate(scales):
        ours = f"head.relations.{scale}"
        many = _has_scales(scales, their_keys, "consensus.")
        prefixes[f"{ours}.hidden."] = (
            f"consensus.fc_fusion_scales.{index}.1." if many else "consensus.pre_classifier.1."
        )
        for task, number in {"": 0, **tasks}.items():
            classifier = f"{max(index - 1, 0)}.{number}" if many else f"{number}"
            prefixes[f"{ours}.classify.{task}.".replace("..", ".")] = f"consensus.classifiers.{classifier}."
    return _wrapped(our_keys, prefixes)


def _mmaction2(our_keys: Collection[str], their_keys: Collection[str]) -> dict[str, str]:
    """open-mmlab/mmaction2 and its forerunner: TSN and TRN, with networks of its own, torchvision, mmcls and timm."""
    prefixes = {"head.fc.": "cls_head.fc_cls.", "head.project.": "cls_head.fc_cls."}
    prefixes |= _relations(our_keys, their_keys, "cls_head.consensus.")
    return {
        key: _mmaction2_layer(key, their_keys, our_keys) if key.startswith("backbone.") else _renamed(key, prefixes)
        for key in our_keys
    }


def _bare_caffe(our_keys: Collection[str], their_keys: Collection[str]) -> dict[str, str]:
    """A file of BN-Inception, or of this Inception-V3, alone."""
    head = _classifier(their_keys, "fc.", "last_linear.", "top_cls_fc.")
    return _wrapped(our_keys, {"head.fc.": head}, home="")


def _torchvision(our_keys: Collection[str], their_keys: Collection[str]) -> dict[str, str]:
    """A ResNet of torchvision alone."""
    return _wrapped(our_keys, {"head.fc.": "fc."}, home="")


def _efficientnet_lite0(our_keys: Collection[str], their_keys: Collection[str]) -> dict[str, str]:
    """lukemelas/EfficientNet-PyTorch, whose key names the published Lite0 file has, as a TSN."""
    prefixes = {"head.fc.": "_fc."}
    prefixes |= conv_and_norm("backbone.stem", "_conv_stem", "_bn0")
    prefixes |= conv_and_norm("backbone.top", "_conv_head", "_bn1")
    blocks = [f"backbone.stage{s}.{b}." for s, count in enumerate((1, 2, 2, 3, 3, 4, 1), 1) for b in range(count)]
    for number, ours in enumerate(blocks):
        theirs = f"_blocks.{number}."
        prefixes |= conv_and_norm(ours + "expand", theirs + "_expand_conv", theirs + "_bn0")
        prefixes |= conv_and_norm(ours + "depthwise", theirs + "_depthwise_conv", theirs + "_bn1")
        prefixes |= conv_and_norm(ours + "project", theirs + "_project_conv", theirs + "_bn2")
    return {key: _renamed(key, prefixes) for key in our_keys}


# Their parts


def _wrapped(our_keys: Collection[str], prefixes: Prefixes, home: str = "base_model.") -> dict[str, str]:
    """The 2-D network in `home`: tsn-pytorch's and its descendants' is `base_model.`, that of a network alone empty."""
    network = {"backbone.": home, "backbone.net.": home}
    return {
        key: caffe_layer(_renamed(key, network), our_keys) if key.startswith("backbone.") else _renamed(key, prefixes)
        for key in our_keys
    }


def _mmaction2_layer(key: str, their_keys: Collection[str], our_keys: Collection[str]) -> str:
    """Its own ResNets, timm's Swin; mmcls' ResNeXt, torchvision's DenseNet and BN-Inception by their own names."""
    others = any(key.startswith("backbone.") for key in their_keys) and RESNET_OF_MMACTION2 not in their_keys
    if not others:
        return mmaction2_resnet_layer(key)
    if TIMM_SWIN in their_keys:
        return swin_layer(key, their_keys)
    return caffe_layer(key.replace("backbone.net.", "backbone."), our_keys)


def _relations(our_keys: Collection[str], their_keys: Collection[str], theirs: str) -> Prefixes:
    """Scales count down from the number of segments; a single scale has names of its own."""
    scales = _scales(our_keys)
    homes = [f"{theirs}classifier"]
    if _has_scales(scales, their_keys, theirs):
        homes = [f"{theirs}fc_fusion_scales.{number}" for number in range(len(scales))]
    prefixes = {}
    for scale, home in zip(scales, homes, strict=False):
        prefixes[f"head.relations.{scale}.hidden."] = f"{home}.1."
        prefixes[f"head.relations.{scale}.classify."] = f"{home}.3."
    return prefixes


def _has_scales(scales: list[int], their_keys: Collection[str], theirs: str) -> bool:
    """Whether they have a list of scales, which is of one where there are 2 segments."""
    return len(scales) > 1 or f"{theirs}fc_fusion_scales.0.1.weight" in their_keys


def _scales(our_keys: Iterable[str]) -> list[int]:
    found = (re.match(r"head\.relations\.(\d+)\.", key) for key in our_keys)
    return sorted({int(match[1]) for match in found if match}, reverse=True)


def _classifier(their_keys: Collection[str], *candidates: str) -> str:
    """The first of the names that is there."""
    return next((name for name in candidates if f"{name}weight" in their_keys), candidates[0])


def _renamed(key: str, prefixes: Prefixes) -> str:
    fitting = [prefix for prefix in prefixes if key.startswith(prefix)]
    if not fitting:
        return key
    longest = max(fitting, key=len)
    return prefixes[longest] + key.removeprefix(longest)


CONVERTERS: dict[str, Callable[[Collection[str], Collection[str]], dict[str, str]]] = {
    "efficientnet_lite0": _efficientnet_lite0,
    "tsn_pytorch": _tsn_pytorch,
    "trn_pytorch": _trn_pytorch,
    "eco_pytorch": _eco_pytorch,
    "epic": _epic,
    "mmaction2": _mmaction2,
    "bare_caffe": _bare_caffe,
    "torchvision": _torchvision,
}
TSN_CLASSIFIERS = ("new_fc", *(f"base_model.{name}" for name in ("fc", "last_linear", "top_cls_fc", "classifier")))
ECO_CLASSIFIERS = ("new_fc", "base_model.fc_final", "base_model.fc8")  # the last of C3DRes18
BACKBONE_CONVERTERS = {
    "bn_inception": "bare_caffe",
    "inception_v3_trn": "bare_caffe",
    "efficientnet_lite0": "efficientnet_lite0",
}
FLAT_MOBILENET, RESNET_OF_MMACTION2 = "base_model.features.1.conv.3.weight", "backbone.conv1.conv.weight"
RELATION_WEIGHT = re.compile(r"head\.relations\.(\d+)\.hidden\.weight")
# Constants that follow from sizes alone: of Swin transformers, and of torchvision's feature extraction.
DERIVED = re.compile(r"\.(relative_position_index|_tensor_constant\d+)$")
# The classifier of MTRN that nothing reads (`_epic`), the normalisation that some files of mmaction2 carry, constants.
UNUSED = re.compile(
    r"consensus\.classifiers\.\d+\.[01]\.(weight|bias)|data_preprocessor\.(mean|std)"
    r"|.*\.(relative_position_index|attn_mask)"
)
