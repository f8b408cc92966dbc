"""What a model costs: parameters, and multiply-adds for one video."""

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Cost:
    """Numbers, not millions or billions. A multiply and an add count as one, as in fvcore; double it for FLOPs."""

    parameters: int
    multiply_adds: int


def model_cost(model: nn.Module, video_shape: tuple[int, ...] | Mapping[str, tuple[int, ...]]) -> Cost:
    """Parameters of `model`, and its multiply-adds in eval for a batch of this shape, counted by fvcore as it runs.

    Args:
        model: stays as it is; a copy runs, on the model's device.
        video_shape: (N, C, T, H, W); of each modality for a `LateFusion`.
    """
    if isinstance(video_shape, Mapping):
        models = dict(model.models.named_children())  # type: ignore[union-attr]
        costs = [model_cost(models[modality], shape) for modality, shape in video_shape.items()]
        return Cost(sum(cost.parameters for cost in costs), sum(cost.multiply_adds for cost in costs))
    twin = copy.deepcopy(model).eval()
    parameter = next(model.parameters())
    video = torch.zeros(video_shape, device=parameter.device, dtype=parameter.dtype)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # fvcore uses torch.jit, as it is imported and to count: torch deprecates that.
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(twin, video)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        multiply_adds = int(analysis.total())
    return Cost(sum(parameter.numel() for parameter in model.parameters()), multiply_adds)
