"""The 3-D residual networks of ECO, and C3DRes18, which ECO starts from.

Zolfaghari et al., "ECO: Efficient Convolutional Network for Online Video Understanding", ECCV 2018, section 3.3;
C3DRes18 is the 3-D ResNet-18 of Tran et al., "ConvNet Architecture Search for Spatiotemporal Feature Learning", 2017.
As in the originals' definitions: every convolution is 3x3x3 with bias, what is added is the sum before BN and ReLU, and
where the size halves, the shortcut is a 3x3x3 convolution without BN.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from pv_sparse.models.caffe_layers import scaled

ECO_BLOCKS = {"res3b": (128, 1), "res4a": (256, 2), "res4b": (256, 1), "res5a": (512, 2), "res5b": (512, 1)}
C3D_BLOCKS = {"res2a": (64, 1), "res2b": (64, 1), "res3a": (128, 2)} | ECO_BLOCKS


class PreActivationBlock(nn.Module):
    """BN, ReLU, convolution, BN, ReLU, convolution, added to what came in (or, where it halves, to a convolution)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.norm = nn.BatchNorm3d(in_channels)
        self.conv1 = _conv(in_channels, out_channels, stride)
        self.norm1 = nn.BatchNorm3d(out_channels)
        self.conv2 = _conv(out_channels, out_channels)
        self.down = _conv(in_channels, out_channels, stride) if stride > 1 else None

    def forward(self, total: Tensor) -> Tensor:
        active = F.relu(self.norm(total))
        out = self.conv2(F.relu(self.norm1(self.conv1(active))))
        return out + (total if self.down is None else self.down(active))


class ResNet3D(nn.Sequential):
    """A convolution, residual blocks by their original names, BN and ReLU; `out_channels` come out.

    Args:
        stem: the first convolution.
        blocks: name -> (channels, stride).
        width: factor of the blocks' channels.
    """

    def __init__(self, stem: nn.Conv3d, blocks: dict[str, tuple[int, int]], width: float = 1.0):
        super().__init__()
        self.stem = stem
        channels = stem.out_channels
        for name, (out_channels, stride) in blocks.items():
            self.add_module(name, PreActivationBlock(channels, scaled(out_channels, width), stride))
            channels = scaled(out_channels, width)
        self.norm = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.out_channels = channels


class C3DResNet18(nn.Module):
    """C3DRes18: the 3-D network whose weights ECO's 3-D part starts from.

    Args:
        num_classes: the classes to tell apart.
        in_channels: of a frame.
        dropout: probability, in training, before the classifier.
    """

    def __init__(self, num_classes: int, in_channels: int = 3, dropout: float = 0.3):
        super().__init__()
        stem = nn.Conv3d(in_channels, 64, kernel_size=(3, 7, 7), stride=2, padding=(1, 3, 3))
        self.net = ResNet3D(stem, C3D_BLOCKS)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.net.out_channels, num_classes)
        initialise(self)

    def forward(self, video: Tensor) -> Tensor:
        """(N, in_channels, T, H, W), as trained with T = 16 and 112x112 -> (N, num_classes)."""
        if video.ndim != 5 or video.shape[1] != self.net.stem.in_channels:
            raise ValueError(
                f"a video of shape {tuple(video.shape)} was given; "
                f"C3DRes18 takes (N, {self.net.stem.in_channels}, T, H, W)"
            )
        return self.fc(self.dropout(self.net(video).mean(dim=(2, 3, 4))))


def eco_net(in_channels: int, width: float = 1.0) -> ResNet3D:
    """ECO's 3-D network, from (N, in_channels, T, H, W) to (N, 512, T/4, H/4, W/4)."""
    return ResNet3D(_conv(in_channels, scaled(128, width)), ECO_BLOCKS, width)


def initialise(network: nn.Module) -> None:
    """Xavier's uniform weights and zero biases, as ECO-pytorch gives what it does not load."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]


def _conv(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1)
