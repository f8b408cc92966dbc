"""The light scorer of looks: a small 2-D network, and attention over time, say which moments of a video count."""

import math

import torch
from torch import Tensor, nn

STAGES = (1, 2, 4)  # channels, in widths


class LookScorer(nn.Module):
    """What each of a video's cheap looks counts, in its context.

    Three convolutions see each look; one layer of self-attention, with the times of the looks as sines, lets a look be
    judged beside the others of its video: what is everywhere tells nothing. At the defaults 58 thousand parameters, and
    0.9 million multiply-adds a look. The layer is that of Vaswani et al., "Attention Is All You Need", 2017, with its
    norm first.

    Args:
        size: pixels of the sides of a look, a multiple of 16.
        width: channels of the first convolution; a multiple of 4.
        attention: whether looks are judged beside each other; without it each is judged alone.
        dropout: in the attention layer.
    """

    def __init__(self, size: int = 64, width: int = 16, attention: bool = True, dropout: float = 0.1):
        super().__init__()
        for name, value, step in (("size", size, 16), ("width", width, 4)):
            if value < step or value % step:
                raise ValueError(f"{name}={value} is not allowed: it must be a multiple of {step}")
        self.size = size
        first, second, third = (width * stage for stage in STAGES)
        self.encoder = nn.Sequential(
            *_stage(3, first, 5, 4), *_stage(first, second, 3, 2), *_stage(second, third, 3, 2)
        )
        self.project = nn.Linear(2 * third, third)
        self.context = _attention(third, dropout) if attention else None
        self.score = nn.Linear(third, 1)

    def forward(self, looks: Tensor, times: Tensor) -> Tensor:
        """(N, K) logits: a softmax over K is each look's share of what counts.

        Args:
            looks: (N, K, 3, size, size) uint8 RGB.
            times: (N, K), of each look, as a share of its video's length, in [0, 1].

        Raises:
            ValueError: looks of another size or modality.
        """
        self._check(looks)
        pixels = (
            looks.flatten(0, 1).to(self.score.weight.dtype).div_(127.5).sub_(1)
        )  # in place: half of a scorer's time
        maps = self.encoder(pixels)  # (N*K, C, size/16, size/16)
        pooled = torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)
        features = self.project(pooled).unflatten(0, looks.shape[:2])
        if self.context is not None:
            features = self.context(features + encoded_times(times, features.shape[2]))
        return self.score(features).squeeze(2)

    def _check(self, looks: Tensor) -> None:
        wanted = (3, self.size, self.size)
        if looks.dtype != torch.uint8 or looks.ndim != 5 or tuple(looks.shape[2:]) != wanted:
            raise ValueError(
                f"looks of {looks.dtype} and shape {tuple(looks.shape)} were given: this scorer reads RGB, "
                f"(N, K, 3, {self.size}, {self.size}) uint8"
            )


def encoded_times(times: Tensor, features: int) -> Tensor:
    """Times (N, K) in [0, 1] as sines and cosines (N, K, features), from half a wave over a video to 32."""
    waves = math.pi * 2 ** torch.linspace(0, 6, features // 2, device=times.device)
    angles = times[..., None].to(torch.float32) * waves
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _stage(in_channels: int, channels: int, kernel: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


def _attention(features: int, dropout: float) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        features, nhead=4, dim_feedforward=features, dropout=dropout, batch_first=True, norm_first=True
    )
