"""The Inception-V3 of TRN's Moments in Time models: `inception_v3_trn`.

Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, as trained at CUHK in Caffe. Not torchvision's: the
convolutions have biases, BN eps is 1e-5, pools round sizes up and averages count the padding, each 7-tap pair comes in
the other order, and the pool of the last block takes the maximum. It has no auxiliary classifier. Made for 299x299.
"""

from collections.abc import Iterator

from pv_sparse.models.caffe_layers import ConvBnRelu, pool_3x3
from pv_sparse.models.layer_graph import IMAGES, Concat, Layer

TAPS = ("mixed_2_join", "mixed_10_join")
Kernel = tuple[int, int]
Conv = tuple[str, int, Kernel]  # name, output channels, kernel

ONE, THREE, FIVE = (1, 1), (3, 3), (5, 5)
TALL, WIDE = (7, 1), (1, 7)
LOW, FLAT = (3, 1), (1, 3)


def inception_v3_trn_layers(in_channels: int = 3) -> list[Layer]:
    """The layers under their original names, with random weights."""
    layers = list(_stem(in_channels))
    channels = 192
    blocks = [
        *(("mixed" if i == 0 else f"mixed_{i}", _blocks_35(pool_proj)) for i, pool_proj in enumerate((32, 64, 64))),
        ("mixed_3", _BLOCK_35_TO_17),
        *((f"mixed_{i}", _blocks_17(width)) for i, width in ((4, 128), (5, 160), (6, 160), (7, 192))),
        ("mixed_8", _BLOCK_17_TO_8),
        ("mixed_9", _blocks_8("avg")),
        ("mixed_10", _blocks_8("max")),
    ]
    for name, branches in blocks:
        layers += _block(name, branches, layers[-1].name, channels)
        channels = _out_channels(branches, channels)
    return layers


class Branch:
    """Convolutions in a row, after a pool or not; those of `fork` all read the last of the row."""

    def __init__(self, *convs: Conv, pool: str | None = None, stride: int = 1, fork: tuple[Conv, ...] = ()):
        self.convs = convs
        self.pool = pool
        self.stride = stride
        self.fork = fork


def _blocks_35(pool_proj: int) -> tuple[Branch, ...]:
    return (
        Branch(("conv", 64, ONE)),
        Branch(("tower_conv", 48, ONE), ("tower_conv_1", 64, FIVE)),
        Branch(("tower_1_conv", 64, ONE), ("tower_1_conv_1", 96, THREE), ("tower_1_conv_2", 96, THREE)),
        Branch(("tower_2_conv", pool_proj, ONE), pool="avg"),
    )


_BLOCK_35_TO_17 = (
    Branch(("conv", 384, THREE), stride=2),
    Branch(("tower_conv", 64, ONE), ("tower_conv_1", 96, THREE), ("tower_conv_2", 96, THREE), stride=2),
    Branch(pool="max", stride=2),
)


def _blocks_17(width: int) -> tuple[Branch, ...]:
    return (
        Branch(("conv", 192, ONE)),
        Branch(("tower_conv", width, ONE), ("tower_conv_1", width, TALL), ("tower_conv_2", 192, WIDE)),
        Branch(
            ("tower_1_conv", width, ONE),
            ("tower_1_conv_1", width, WIDE),
            ("tower_1_conv_2", width, TALL),
            ("tower_1_conv_3", width, WIDE),
            ("tower_1_conv_4", 192, TALL),
        ),
        Branch(("tower_2_conv", 192, ONE), pool="avg"),
    )


_BLOCK_17_TO_8 = (
    Branch(("tower_conv", 192, ONE), ("tower_conv_1", 320, THREE), stride=2),
    Branch(
        ("tower_1_conv", 192, ONE),
        ("tower_1_conv_1", 192, TALL),
        ("tower_1_conv_2", 192, WIDE),
        ("tower_1_conv_3", 192, THREE),
        stride=2,
    ),
    Branch(pool="max", stride=2),
)


def _blocks_8(pool: str) -> tuple[Branch, ...]:
    return (
        Branch(("conv", 320, ONE)),
        Branch(("tower_conv", 384, ONE), fork=(("tower_mixed_conv", 384, LOW), ("tower_mixed_conv_1", 384, FLAT))),
        Branch(
            ("tower_1_conv", 448, ONE),
            ("tower_1_conv_1", 384, THREE),
            fork=(("tower_1_mixed_conv", 384, LOW), ("tower_1_mixed_conv_1", 384, FLAT)),
        ),
        Branch(("tower_2_conv", 192, ONE), pool=pool),
    )


def _stem(in_channels: int) -> Iterator[Layer]:
    yield Layer("conv", ConvBnRelu(in_channels, 32, 3, stride=2), (IMAGES,))
    yield Layer("conv_1", ConvBnRelu(32, 32, 3), ("conv",))
    yield Layer("conv_2", ConvBnRelu(32, 64, 3, padding=1), ("conv_1",))
    yield Layer("pool", pool_3x3("max", stride=2), ("conv_2",))
    yield Layer("conv_3", ConvBnRelu(64, 80, 1), ("pool",))
    yield Layer("conv_4", ConvBnRelu(80, 192, 3), ("conv_3",))
    yield Layer("pool_1", pool_3x3("max", stride=2), ("conv_4",))


def _block(name: str, branches: tuple[Branch, ...], source: str, channels: int) -> Iterator[Layer]:
    outputs: list[str] = []
    for number, branch in enumerate(branches):
        layers = list(_branch(name, branch, number, source, channels))
        yield from layers
        outputs += [layer.name for layer in layers[-max(1, len(branch.fork)) :]]
    yield Layer(f"{name}_join", Concat(), tuple(outputs))


def _branch(block: str, branch: Branch, number: int, source: str, channels: int) -> Iterator[Layer]:
    if branch.pool:
        pool = f"{block}_tower_{number - 1}_pool" if branch.convs else f"{block}_pool"
        yield Layer(pool, pool_3x3(branch.pool, branch.stride), (source,))
        source = pool
    for conv in branch.convs:
        stride = branch.stride if conv is branch.convs[-1] else 1
        yield _conv(block, conv, source, channels, stride)
        source, channels = f"{block}_{conv[0]}", conv[1]
    for conv in branch.fork:
        yield _conv(block, conv, source, channels, stride=1)


def _conv(block: str, conv: Conv, source: str, channels: int, stride: int) -> Layer:
    name, out_channels, kernel = conv
    padding = (0, 0) if stride == 2 else (kernel[0] // 2, kernel[1] // 2)
    return Layer(f"{block}_{name}", ConvBnRelu(channels, out_channels, kernel, stride, padding), (source,))


def _out_channels(branches: tuple[Branch, ...], channels: int) -> int:
    ends = [branch.fork or branch.convs[-1:] for branch in branches]
    return sum(sum(conv[1] for conv in end) if end else channels for end in ends)
