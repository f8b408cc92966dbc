"""What the originals call the layers of each network, for the layers that we call otherwise."""

import re
from collections.abc import Callable, Collection

Prefixes = dict[str, str]  # the beginning of our key -> the beginning of theirs; the longest that fits holds
TIMM_SWIN, TIMM_NEW_DOWNSAMPLE = "backbone.patch_embed.proj.weight", "backbone.layers.3.downsample.reduction.weight"


def caffe_layer(key: str, our_keys: Collection[str]) -> str:
    """`inception_3a_1x1.conv.weight` -> `inception_3a_1x1.weight`, `.bn.` -> `_bn.`; the Inception-V3 has suffixes."""
    layer, _, field = key.rpartition(".")
    is_v3 = "backbone.conv_1.conv.weight" in our_keys
    if not is_v3 and "backbone.conv1_7x7_s2.conv.weight" not in our_keys:
        return key  # of a network whose own names may end in .conv, as DenseNet's
    for ours, theirs in ((".conv", "_Conv2D" if is_v3 else ""), (".bn", "_batchnorm" if is_v3 else "_bn")):
        if layer.endswith(ours):
            return f"{layer.removesuffix(ours)}{theirs}.{field}"
    return key


# Each block's norm stands, there, after the block before it, and bears its name.
ECO_BLOCKS = ("res3b", "res4a", "res4b", "res5a", "res5b")
C3D_BLOCKS = ("res2a", "res2b", "res3a", *ECO_BLOCKS)


def net3d(blocks: tuple[str, ...], ours: str, theirs: str) -> Prefixes:
    stem, stem_norm = ("conv1", "conv1_bn") if blocks == C3D_BLOCKS else ("res3a_2", "res3a_bn")
    prefixes = {f"{ours}stem.": f"{theirs}{stem}."}
    norms = [stem_norm, *(f"{block}_bn" for block in blocks)]
    for block, norm in zip([*blocks, None], norms, strict=True):
        if block is None:
            prefixes[f"{ours}norm."] = f"{theirs}{norm}."
            continue
        prefixes[f"{ours}{block}.norm."] = f"{theirs}{norm}."
        parts = {"conv1": "1", "norm1": "1_bn", "conv2": "2", "down": "down"}
        prefixes |= {f"{ours}{block}.{part}.": f"{theirs}{block}_{name}." for part, name in parts.items()}
    return prefixes


MMACTION2_RESNET = (
    (r"^backbone\.conv1\.", "backbone.conv1.conv."),
    (r"^backbone\.bn1\.", "backbone.conv1.bn."),
    (r"^(backbone\.layer\d\.\d+)\.conv(\d)\.", r"\1.conv\2.conv."),
    (r"^(backbone\.layer\d\.\d+)\.bn(\d)\.", r"\1.conv\2.bn."),
    (r"\.downsample\.0\.", ".downsample.conv."),
    (r"\.downsample\.1\.", ".downsample.bn."),
)


def mmaction2_resnet_layer(key: str) -> str:
    for pattern, replacement in MMACTION2_RESNET:
        key, found = re.subn(pattern, replacement, key)
        if found:
            return key
    return key


def mobilenet_v2_layer(key: str) -> str:
    """The MobileNetV2 of the TSM repository (tonylins/pytorch-mobilenet-v2) counts a block's layers one by one.

    `features.2.conv.1.0.weight` of torchvision, the convolution of its second group, is `features.2.conv.3.weight`.
    """
    found = re.fullmatch(r"(.*features\.(\d+)\.conv\.)(\d)(?:\.(\d))?(\.\w+)", key)
    if found is None:
        return key
    start, block, group, layer, field = found.groups()
    groups = 1 if block == "1" else 2  # of convolution, norm and activation; then come a convolution and a norm alone
    index = 3 * int(group) + int(layer) if layer else 3 * groups + int(group) - groups
    return f"{start}{index}{field}"


def swin_layer(key: str, their_keys: Collection[str]) -> str:
    """timm's Swin transformers, as torchvision's: its stage i is `features.{2i + 1}`, its embedding `features.0`.

    What makes the map of a stage smaller stood at its end before timm 0.9, and stands at the start of the next since.
    """
    shift = 0 if TIMM_NEW_DOWNSAMPLE in their_keys else 1
    rules: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
        (r"features\.0\.0\.", lambda _: "patch_embed.proj."),
        (r"features\.0\.2\.", lambda _: "patch_embed.norm."),
        (r"features\.(\d+)\.(reduction|norm)\.", lambda m: f"layers.{int(m[1]) // 2 - shift}.downsample.{m[2]}."),
        (r"features\.(\d+)\.(\d+)\.mlp\.0\.", lambda m: f"layers.{int(m[1]) // 2}.blocks.{m[2]}.mlp.fc1."),
        (r"features\.(\d+)\.(\d+)\.mlp\.3\.", lambda m: f"layers.{int(m[1]) // 2}.blocks.{m[2]}.mlp.fc2."),
        (r"features\.(\d+)\.(\d+)\.", lambda m: f"layers.{int(m[1]) // 2}.blocks.{m[2]}."),
    )
    theirs = key.removeprefix("backbone.net.")
    for pattern, name in rules:
        match = re.match(pattern, theirs)
        if match:
            return f"backbone.{name(match)}{theirs[match.end() :]}"
    return f"backbone.{theirs}"


def conv_and_norm(ours: str, conv: str, norm: str) -> Prefixes:
    return {f"{ours}.0.": f"{conv}.", f"{ours}.1.": f"{norm}."}
