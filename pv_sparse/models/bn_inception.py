"""BN-Inception: the 2-D network of the original TSN, TRN and ECO.

Ioffe and Szegedy, "Batch Normalization", ICML 2015, in the form that came from Caffe: every convolution has a bias, BN
eps is 1e-5, every pooling rounds sizes up (Caffe's rule), and average pools count the padding. The originals average a
map of exactly 7x7; here the head averages whatever map there is, so any input size will do.
"""

from collections.abc import Iterator
from typing import NamedTuple

from pv_sparse.models.caffe_layers import ConvBnRelu, pool_3x3, scaled
from pv_sparse.models.layer_graph import IMAGES, Concat, Layer

TAPS = ("inception_3c_double_3x3_1", "inception_5b_output")  # ECO's is the middle of 3c's double branch, not its output


class Block(NamedTuple):
    """Output channels of each convolution; `one` is 0 and `pool_proj` is 0 where the block halves the map."""

    name: str
    one: int
    three: tuple[int, int]
    double: tuple[int, int, int]
    pool: str
    pool_proj: int
    stride: int = 1


BLOCKS = (
    Block("3a", 64, (64, 64), (64, 96, 96), "avg", 32),
    Block("3b", 64, (64, 96), (64, 96, 96), "avg", 64),
    Block("3c", 0, (128, 160), (64, 96, 96), "max", 0, stride=2),
    Block("4a", 224, (64, 96), (96, 128, 128), "avg", 128),
    Block("4b", 192, (96, 128), (96, 128, 128), "avg", 128),
    Block("4c", 160, (128, 160), (128, 160, 160), "avg", 128),
    Block("4d", 96, (128, 192), (160, 192, 192), "avg", 128),
    Block("4e", 0, (128, 192), (192, 256, 256), "max", 0, stride=2),
    Block("5a", 352, (192, 320), (160, 224, 224), "avg", 128),
    Block("5b", 352, (192, 320), (192, 224, 224), "max", 128),
)


def bn_inception_layers(in_channels: int = 3, width: float = 1.0) -> list[Layer]:
    """The layers under their original names, with random weights.

    Args:
        in_channels: of the images.
        width: factor of every number of channels; 1.0 is the original.
    """
    layers = list(_stem(in_channels, width))
    channels = scaled(192, width)
    for block in BLOCKS:
        layers += _block(block, layers[-1].name, channels, width)
        branches = [block.one, block.three[-1], block.double[-1], block.pool_proj]
        passed_on = 0 if block.pool_proj else channels
        channels = sum(scaled(branch, width) for branch in branches if branch) + passed_on
    return layers


def _stem(in_channels: int, width: float) -> Iterator[Layer]:
    c64, c192 = scaled(64, width), scaled(192, width)
    yield Layer("conv1_7x7_s2", ConvBnRelu(in_channels, c64, 7, stride=2, padding=3), (IMAGES,))
    yield Layer("pool1_3x3_s2", pool_3x3("max", stride=2), ("conv1_7x7_s2",))
    yield Layer("conv2_3x3_reduce", ConvBnRelu(c64, c64, 1), ("pool1_3x3_s2",))
    yield Layer("conv2_3x3", ConvBnRelu(c64, c192, 3, padding=1), ("conv2_3x3_reduce",))
    yield Layer("pool2_3x3_s2", pool_3x3("max", stride=2), ("conv2_3x3",))


def _block(block: Block, source: str, channels: int, width: float) -> Iterator[Layer]:
    name = f"inception_{block.name}"
    branches = []
    if block.one:
        yield Layer(f"{name}_1x1", ConvBnRelu(channels, scaled(block.one, width), 1), (source,))
        branches.append(f"{name}_1x1")
    for kind, names, widths in (
        ("3x3", ("reduce", ""), block.three),
        ("double_3x3", ("reduce", "1", "2"), block.double),
    ):
        yield from _branch(
            [f"{name}_{kind}_{n}".rstrip("_") for n in names], source, channels, widths, block.stride, width
        )
        branches.append(f"{name}_{kind}_{names[-1]}".rstrip("_"))
    yield Layer(f"{name}_pool", pool_3x3(block.pool, block.stride), (source,))
    if block.pool_proj:
        yield Layer(f"{name}_pool_proj", ConvBnRelu(channels, scaled(block.pool_proj, width), 1), (f"{name}_pool",))
    branches.append(f"{name}_pool_proj" if block.pool_proj else f"{name}_pool")
    yield Layer(f"{name}_output", Concat(), tuple(branches))


def _branch(
    names: list[str], source: str, channels: int, widths: tuple[int, ...], stride: int, width: float
) -> Iterator[Layer]:
    """A 1x1 convolution and then 3x3 ones, the last of which may halve the map."""
    for number, (name, out) in enumerate(zip(names, widths, strict=True)):
        kernel = 1 if number == 0 else 3
        step = stride if name == names[-1] else 1
        yield Layer(name, ConvBnRelu(channels, scaled(out, width), kernel, step, padding=kernel // 2), (source,))
        source, channels = name, scaled(out, width)
