"""Mixing with PyTorchVideo's models: our head on its trunks, and its trunks as our backbones."""

from collections.abc import Callable

from torch import Tensor, nn

from pv_sparse.models.backbone import Backbone
from pv_sparse.models.host_words import create_activation
from pv_sparse.models.logits import Logits, map_logits
from pv_sparse.models.trn import RelationHead


class HostRelationHead(nn.Module):
    """A `RelationHead` that takes the host's maps."""

    def __init__(self, head: RelationHead, activation: nn.Module | None):
        super().__init__()
        self.head = head
        self.activation = activation

    def forward(self, maps: Tensor) -> Logits:
        """(N, C', T', H', W'), each of the T' times a segment -> (N, num_classes)."""
        logits = self.head(maps.transpose(1, 2))
        return logits if self.activation is None else map_logits(self.activation, logits)


def create_multiscale_relation_head(
    *,
    in_features: int,
    out_features: int,
    num_segments: int = 8,
    multi_scale: bool = True,
    dropout_rate: float = 0.8,
    activation: Callable[..., nn.Module] | None = None,
    features: int = 256,
    hidden: int | None = None,
    grid: tuple[int, int] = (1, 1),
    pool: Callable[..., nn.Module] | None = None,
    output_size: tuple[int, ...] | None = None,
    pool_kernel_size: tuple[int, ...] | None = None,
    output_with_global_average: bool = True,
) -> HostRelationHead:
    """A TRN head in the host's style of builders, for its `head=` argument or as the last of a net's blocks.

    The host's nets initialise all they hold, a head too: its projection and classifiers then have weights of
    N(0, 0.01). Their builders pass a `dropout_rate` of their own, 0.5.

        head = functools.partial(create_multiscale_relation_head, num_segments=8)
        net = pytorchvideo.models.resnet.create_resnet(input_channel=3, model_depth=50, model_num_class=174, head=head)

    The builders of X3D, CSN and R(2+1)D have no such argument: there, replace the last block,
    `net.blocks[-1] = head(in_features=192, out_features=174)`, with the channels of the last stage. SlowFast pools over
    time before its head, so no relation is left to see.

    Args:
        in_features: channels of the trunk's maps.
        out_features: the classes to tell apart.
        num_segments: T', the times that the trunk gives.
        multi_scale, features, hidden, grid: as in `RelationHead`.
        dropout_rate: probability, in training, before the projection.
        activation: a class such as `nn.Softmax`; None gives logits.
        pool, output_size, pool_kernel_size, output_with_global_average: the host's builders pass them to every head.
            Here they change nothing: each time is pooled over its whole map.

    Returns:
        From maps (N, in_features, T', H', W') to logits (N, out_features); `ValueError` for another T'.
    """
    head = RelationHead(in_features, out_features, num_segments, multi_scale, dropout_rate, features, hidden, grid)
    return HostRelationHead(head, create_activation(activation))


class HostBackbone(Backbone):
    """A net of PyTorchVideo without its head, as a backbone: each segment is a clip that it sees on its own.

    What it gives for the times of a segment is averaged. Its weights stay as they are.

    Args:
        net: of one pathway, whose last block is the head (`create_resnet`, `create_x3d`, `create_csn`, ...).
        frames_per_segment: frames of each clip.
        in_channels: of a frame.
        image_size: a size that it takes.

    Raises:
        ValueError: a net that has no blocks, or several pathways.
    """

    def __init__(self, net: nn.Module, frames_per_segment: int = 1, in_channels: int = 3, image_size: int = 224):
        super().__init__()
        blocks = getattr(net, "blocks", None)
        if not isinstance(blocks, nn.ModuleList) or any("MultiPathWay" in type(block).__name__ for block in blocks):
            raise ValueError(
                f"a {type(net).__name__} was given: give a net of PyTorchVideo with blocks and one pathway"
            )
        self.blocks = nn.ModuleList(list(blocks)[:-1])
        _use_plain_numbers(self.blocks)
        self.frames_per_segment = frames_per_segment
        self.in_channels = in_channels * frames_per_segment
        self.taps = (f"blocks.{len(self.blocks) - 1}",)
        self.tap_channels = self.measure_channels(image_size)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """(N, L*C, H, W), the frames one after another -> ((N, C', H', W'),)."""
        n, _, height, width = images.shape
        clips = images.view(n, self.frames_per_segment, -1, height, width).transpose(1, 2)  # (N, C, L, H, W)
        for block in self.blocks:
            clips = block(clips)
        return (clips.mean(dim=2),)


def _use_plain_numbers(blocks: nn.ModuleList) -> None:
    """The host's builders leave NumPy's integers in strides, which torch.compile refuses."""
    for module in blocks.modules():
        if isinstance(module, nn.Conv3d):
            module.stride = tuple(int(step) for step in module.stride)
