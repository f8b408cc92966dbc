"""A 2-D network of five convolutions, for tests and small studies: no paper's, and not meant to be accurate."""

from torch import nn

from pv_sparse.models.layer_graph import Layer, chain

CHANNELS = {"stage1": 16, "stage2": 32, "stage3": 64, "stage4": 128, "stage5": 192}
TAPS = ("stage3", "stage5")


def tiny_layers(in_channels: int = 3) -> list[Layer]:
    """From (N, in_channels, H, W) to (N, 192, H/32, W/32); each stage halves the map. 0.32 M parameters."""
    stages = {}
    for name, channels in CHANNELS.items():
        conv = nn.Conv2d(in_channels, channels, kernel_size=3, stride=2, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        stages[name] = nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
        in_channels = channels
    return chain(stages)
