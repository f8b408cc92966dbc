"""Which network the names and shapes of tensors are of; the first convolution's name tells most."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from pv_sparse.errors import WeightsError

State = Mapping[str, Tensor]
# (blocks of each stage, whether they are bottlenecks) -> depth
RESNET_DEPTHS: dict[tuple[tuple[int, ...], bool], int] = {
    ((2, 2, 2, 2), False): 18,
    ((3, 4, 6, 3), False): 34,
    ((3, 4, 6, 3), True): 50,
    ((3, 4, 23, 3), True): 101,
    ((3, 8, 36, 3), True): 152,
}
# (output, input channels) of the first 3x3 convolution between bottlenecks -> name
RESNET_WIDTHS: dict[tuple[int, ...], str] = {
    (64, 64): "resnet{}",
    (128, 4): "resnext{}_32x4d",
    (256, 8): "resnext{}_32x8d",
    (256, 4): "resnext{}_64x4d",
    (128, 128): "wide_resnet{}_2",
}
# blocks of each stage -> depth
DENSENETS: dict[tuple[int, ...], int] = {
    (6, 12, 24, 16): 121,
    (6, 12, 36, 24): 161,
    (6, 12, 32, 32): 169,
    (6, 12, 48, 32): 201,
}
# (channels of the embedding, blocks of each stage) -> name
SWINS: dict[tuple[int, tuple[int, ...]], str] = {
    (96, (2, 2, 6, 2)): "swin_t",
    (96, (2, 2, 18, 2)): "swin_s",
    (128, (2, 2, 18, 2)): "swin_b",
}


class Network(NamedTuple):
    """The 2-D network, by its name here (C3DResNet18 is `c3d`), and how many channels it takes."""

    name: str
    in_channels: int


def find_network(state: State, prefix: str) -> Network:
    """The network whose tensors' names begin with `prefix`; `WeightsError` for those that are not here."""
    for first, name in NETWORKS.items():
        conv = state.get(prefix + first)
        if conv is not None:
            try:
                return Network(name(state, prefix), conv.shape[1])
            except KeyError as error:
                raise WeightsError(f"a network of this depth or width is not here ({error})") from error
    raise WeightsError(
        "its 2-D network is none of those here (BN-Inception, Inception v3, ResNets, DenseNets, MobileNetV2, Swin)"
    )


def _bn_inception(state: State, prefix: str) -> str:
    return "bn_inception"


def _inception_v3(state: State, prefix: str) -> str:
    return "inception_v3_trn"


def _efficientnet(state: State, prefix: str) -> str:
    return "efficientnet_lite0"


def _resnet(state: State, prefix: str) -> str:
    if state[f"{prefix}conv1.weight"].ndim == 5:
        return "c3d"
    return _resnet_of(state, prefix, infix="")


def _mmaction2_resnet(state: State, prefix: str) -> str:
    return _resnet_of(state, prefix, infix=".conv")


def _resnet_of(state: State, prefix: str, infix: str) -> str:
    depth = RESNET_DEPTHS[_counts(state, f"{prefix}layer", "."), f"{prefix}layer1.0.conv3{infix}.weight" in state]
    return RESNET_WIDTHS[tuple(state[f"{prefix}layer1.0.conv2{infix}.weight"].shape[:2])].format(depth)


def _densenet(state: State, prefix: str) -> str:
    return f"densenet{DENSENETS[_counts(state, prefix + 'features.denseblock', '.denselayer')]}"


def _mobilenet(state: State, prefix: str) -> str:
    if f"{prefix}features.18.1.running_mean" not in state or f"{prefix}features.19.1.running_mean" in state:
        raise KeyError("of those with features.0.0, MobileNetV2 alone")
    return "mobilenet_v2"


def _swin(state: State, prefix: str) -> str:
    return SWINS[len(state[f"{prefix}patch_embed.proj.weight"]), _counts(state, f"{prefix}layers.", ".blocks.")]


def _counts(state: State, stage: str, block: str) -> tuple[int, ...]:
    """How many blocks each stage has: (3, 4, 6, 3)."""
    found = {re.match(rf"{re.escape(stage)}(\d+){re.escape(block)}(\d+)\.", key) for key in state}
    blocks = {(int(match[1]), int(match[2])) for match in found if match}
    stages = sorted({number for number, _ in blocks})
    return tuple(sum(number == own for own, _ in blocks) for number in stages)


# the first convolution -> which network it is of
NETWORKS: dict[str, Callable[[State, str], str]] = {
    "conv1_7x7_s2.weight": _bn_inception,
    "conv_Conv2D.weight": _inception_v3,
    "_conv_stem.weight": _efficientnet,
    "conv1.weight": _resnet,
    "conv1.conv.weight": _mmaction2_resnet,
    "features.conv0.weight": _densenet,
    "features.0.0.weight": _mobilenet,
    "patch_embed.proj.weight": _swin,
}
